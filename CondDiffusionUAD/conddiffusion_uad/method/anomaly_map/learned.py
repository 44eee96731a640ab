"""The learned anomaly map: a network that has only seen synthetic anomalies says where a scan is anomalous."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from conddiffusion_uad.method.anomaly_map.learned_inputs import SliceInputs, ranks, slice_inputs, with_reconstruction
from conddiffusion_uad.method.anomaly_map.learned_network import LearnedMapNetwork

_PROBED = 8  # every how many-th voxel of the brain the ranks are estimated from


@dataclass(frozen=True)
class LearnedMap:
    """A trained network and what it needs to know of the atlas.

    Attributes:
        network: In evaluation mode.
        place: (channels, z, y, x) from :func:`atlas_place`, at half size, for the whole grid.
        batch: Slices at once.
        mirrored: Whether each slice is scored plain and mirrored, and the mean taken; twice the time.
    """

    network: LearnedMapNetwork
    place: torch.Tensor
    batch: int = 16
    mirrored: bool = True

    @torch.inference_mode()
    def __call__(
        self,
        volume: np.ndarray,
        mask: np.ndarray,
        contrast: str | None,
        samples: np.ndarray | None = None,
        heights: np.ndarray | None = None,
        single: bool = False,
    ) -> np.ndarray:
        """Probability, by the network's own reckoning, that each voxel is anomalous.

        Args:
            volume: Normalized scan (z, y, x) in [0, 1]; 1 mm in plane and 2 mm between slices.
            mask: Brain, boolean, same shape.
            contrast: "T1", "T2" or "FLAIR"; None when unknown.
            samples: Reconstructions (samples, z, y / 2, x / 2), 0 to 1; None when there are none.
            heights: Index of each slice in the whole grid; None when the volume is the whole grid.
            single: Whether the slices are single ones, each of another scan.

        Returns:
            float32 (z, y, x), 0 outside the brain.
        """
        scan, brain = torch.from_numpy(volume.astype(np.float32)), torch.from_numpy(mask)
        heights = np.arange(len(volume)) if heights is None else heights
        place = self.place[:, torch.from_numpy(heights)]
        rank = self._ranks(scan, brain, single)
        result = np.zeros(volume.shape, np.float32)
        filled = np.flatnonzero(mask.any(axis=(1, 2)))
        for start in range(0, len(filled), self.batch):
            index = torch.from_numpy(filled[start : start + self.batch])
            if single:
                inputs = _single(scan[index], rank[index], brain[index], contrast, place[:, index])
            else:
                inputs = slice_inputs(scan, rank, brain, index, contrast, place)
            if samples is not None:
                known = torch.from_numpy(samples[:, index.numpy()].astype(np.float32))
                inputs = with_reconstruction(inputs, known[:, :, None])
            result[index.numpy()] = (self._scored(inputs.fine, inputs.coarse) * inputs.brain)[:, 0].numpy()
        return result

    def _scored(self, fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        with torch.autocast(fine.device.type, torch.bfloat16):
            logits = self.network(fine, coarse)
            if self.mirrored:
                logits = (logits + self.network(fine.flip(-1), coarse.flip(-1)).flip(-1)) / 2
        return torch.sigmoid(logits)

    @staticmethod
    def _ranks(scan: torch.Tensor, brain: torch.Tensor, single: bool) -> torch.Tensor:
        if single:
            return torch.stack([ranks(s, s[b]) * b for s, b in zip(scan, brain, strict=True)])
        return ranks(scan, scan[brain][::_PROBED]) * brain


def _single(
    scan: torch.Tensor, rank: torch.Tensor, brain: torch.Tensor, contrast: str | None, place: torch.Tensor
) -> SliceInputs:
    """Inputs of single slices: each is its own neighbors."""
    first = torch.zeros(1, dtype=torch.long)
    made = [
        slice_inputs(scan[k, None], rank[k, None], brain[k, None], first, contrast, place[:, k, None])
        for k in range(len(scan))
    ]
    return SliceInputs(*(torch.cat([getattr(m, name) for m in made]) for name in ("fine", "coarse", "brain")))
