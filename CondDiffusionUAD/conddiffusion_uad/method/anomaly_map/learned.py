"""The learned anomaly map: a network that has only seen synthetic anomalies says where a scan is anomalous."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.anomaly_map.learned_inputs import (
    COARSE_CHANNELS,
    FINE_CHANNELS,
    PRIORS,
    SliceInputs,
    atlas_place,
    ranks,
    slice_inputs,
    with_reconstruction,
)
from conddiffusion_uad.method.anomaly_map.learned_network import LearnedMapNetwork
from conddiffusion_uad.method.context.mirror import middle, mirrored, registered
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion

_PRIORS_SIZE = (PRIORS, 40, 48, 40)  # 4 mm
_SUREST = np.float32(1 - 1e-6)  # probability
_ON_CPU = 4  # slices at once; more are no quicker there, and take a tenth more memory in all
_PROBED = 8  # every how many-th voxel of the brain the ranks are estimated from


class LearnedWeights(nn.Module):
    """What a bundle stores of a learned map: the network, and how often the atlas' brains have which tissue where."""

    priors: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.network = LearnedMapNetwork(FINE_CHANNELS, COARSE_CHANNELS)
        self.register_buffer("priors", torch.zeros(_PRIORS_SIZE))


@dataclass(frozen=True)
class Learned:
    """The map as a part of a method; its bundle has a grid of 2 mm.

    Attributes:
        weights: Name of the network and of its file.
        mirrored: Whether each slice is scored plain and mirrored, and the mean taken; twice the time.
        reconstructed: Whether the network is shown the reconstructions.
        twice: Whether the mean of its opinions with and without them is taken.
        registered: Whether the mirrored scan that it is shown is registered to the scan, and not only flipped.
    """

    weights: str = "learned_map"
    mirrored: bool = True
    reconstructed: bool = True
    twice: bool = False
    registered: bool = False

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Of the grid that the map is made on, mm along x, y, z."""
        return 1.0, 1.0, 2.0

    def build(self) -> LearnedWeights:
        """The network with new weights."""
        return LearnedWeights()

    def __call__(self, restored: Restored, model: ConditionedDiffusion) -> np.ndarray:
        """The map, float32 (z, y, x): ``-log(1 - p)`` of the probability p by the network's own reckoning.

        Raises:
            ValueError: It is not known where the voxels lie.
        """
        if restored.grid is None:
            raise ValueError("a learned map has to know where the voxels lie in the atlas")
        weights = model.networks[self.weights]
        assert isinstance(weights, LearnedWeights)
        place = whole_place(restored.grid, weights.priors)
        batch = _ON_CPU if place.device.type == "cpu" else LearnedMap.batch
        scored = LearnedMap(weights.network, place, batch, self.mirrored)
        samples = np.clip((restored.origin or restored).samples, 0, 1)
        other = self._mirror(restored.volume, restored.mask, restored.grid)
        shown = [samples, None] if self.twice else [samples if self.reconstructed else None]
        opinions = [
            -np.log1p(
                -np.minimum(scored(restored.volume, restored.mask, restored.contrast, each, mirror=other), _SUREST)
            )
            for each in shown
        ]
        return np.stack(opinions).mean(axis=0, dtype=np.float32)

    def _mirror(self, volume: np.ndarray, mask: np.ndarray, grid: Grid) -> np.ndarray:
        return registered(volume, mask, grid) if self.registered else mirrored(volume, middle(mask, grid))


def whole_place(grid: Grid, priors: torch.Tensor) -> torch.Tensor:
    """:func:`atlas_place` of all pixels of a grid at half size."""

    def centers(axis: int, halved: int) -> torch.Tensor:
        step = grid.spacing[axis] * halved
        first = grid.origin[axis] + (step - grid.spacing[axis]) / 2
        return first + step * torch.arange(grid.size[axis] // halved, device=priors.device)

    return atlas_place(centers(2, 1), centers(1, 2), centers(0, 2), priors)


@dataclass(frozen=True)
class LearnedMap:
    """A trained network and what it needs to know of the atlas.

    Attributes:
        network: In evaluation mode; it computes where it is.
        place: (channels, z, y, x) from :func:`whole_place`, on the same device.
        batch: Slices at once.
        mirrored: Whether each slice is scored plain and mirrored, and the mean taken.
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
        mirror: np.ndarray | None = None,
    ) -> np.ndarray:
        """Probability, by the network's own reckoning, that each voxel is anomalous.

        Args:
            volume: Normalized scan (z, y, x) in [0, 1]; 1 mm in plane and 2 mm between slices.
            mask: Brain, boolean, same shape.
            contrast: "T1", "T2" or "FLAIR"; None when unknown.
            samples: Reconstructions (samples, z, y / 2, x / 2), 0 to 1; None when there are none.
            heights: Index of each slice in the whole grid; None when the volume is the whole grid.
            single: Whether the slices are single ones, each of another scan.
            mirror: The scan mirrored at the mid-plane; None when that is the middle of the volume.

        Returns:
            float32 (z, y, x), 0 outside the brain.
        """
        device = self.place.device
        scan, brain = torch.from_numpy(volume.astype(np.float32)).to(device), torch.from_numpy(mask).to(device)
        place = self.place if heights is None else self.place[:, torch.from_numpy(heights).to(device)]
        other = None if mirror is None else torch.from_numpy(mirror).to(device)
        rank = _ranks(scan, brain, single)
        result = np.zeros(volume.shape, np.float32)
        filled = np.flatnonzero(mask.any(axis=(1, 2)))
        for start in range(0, len(filled), self.batch):
            chosen = filled[start : start + self.batch]
            index = torch.from_numpy(chosen).to(device)
            if single:
                inputs = _single(scan[index], rank[index], brain[index], contrast, place[:, index])
            else:
                inputs = slice_inputs(scan, rank, brain, index, contrast, place, other)
            if samples is not None:
                known = torch.from_numpy(samples[:, chosen].astype(np.float32)).to(device)
                inputs = with_reconstruction(inputs, known[:, :, None])
            result[chosen] = (self._scored(inputs) * inputs.brain)[:, 0].cpu().numpy()
        return result

    def _scored(self, inputs: SliceInputs) -> torch.Tensor:
        height, width = inputs.fine.shape[2:]
        fine, coarse = (_padded(part, self.network.divisor // k) for part, k in ((inputs.fine, 1), (inputs.coarse, 2)))
        with torch.autocast(fine.device.type, torch.bfloat16):
            logits = self.network(fine, coarse)
            if self.mirrored:
                logits = (logits + self.network(fine.flip(-1), coarse.flip(-1)).flip(-1)) / 2
        return torch.sigmoid(logits[..., :height, :width])


def _ranks(scan: torch.Tensor, brain: torch.Tensor, single: bool) -> torch.Tensor:
    if single:
        return torch.stack([ranks(s, s[b]) * b for s, b in zip(scan, brain, strict=True)])
    return ranks(scan, scan[brain][::_PROBED]) * brain


def _padded(values: torch.Tensor, divisor: int) -> torch.Tensor:
    """With rows and columns of zeros at the end, up to multiples of a divisor."""
    height, width = values.shape[2:]
    return functional.pad(values, (0, -width % divisor, 0, -height % divisor))


def _single(
    scan: torch.Tensor, rank: torch.Tensor, brain: torch.Tensor, contrast: str | None, place: torch.Tensor
) -> SliceInputs:
    """Inputs of single slices: each is its own neighbors."""
    first = torch.zeros(1, dtype=torch.long, device=scan.device)
    made = [
        slice_inputs(scan[k, None], rank[k, None], brain[k, None], first, contrast, place[:, k, None])
        for k in range(len(scan))
    ]
    return SliceInputs(*(torch.cat([getattr(m, name) for m in made]) for name in ("fine", "coarse", "brain")))
