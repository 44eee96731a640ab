"""Endless batches of synthetic slices for the learned map; batch n is a function of the seed and n alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from conddiffusion_uad.method.anomaly_map.learned import whole_place
from conddiffusion_uad.method.anomaly_map.learned_inputs import NEIGHBORS, SliceInputs, slice_inputs
from conddiffusion_uad.training.data.healthy_bank import FINE, Inputs
from conddiffusion_uad.training.learned_map.balance import balanced
from conddiffusion_uad.training.learned_map.material import HELD_OUT_SLICES, Material
from conddiffusion_uad.training.learned_map.scans import Slab, synthesize

SCANS, SLICES = 8, 4  # of a batch: scans, and slices of each
SHARES = {"labels": 0.5, "T1 scans": 0.3, "slices": 0.13, "other scans": 0.07}  # of scans, by what they are made of
_CONTRASTS = {"T1": 0.42, "T2": 0.29, "FLAIR": 0.24, "random": 0.05}
_UNKNOWN_CONTRAST, _UNKNOWN_PLACE = 0.06, 0.06  # shares in which the network is not told
_MAPS = ("label", "weight", "balance", "spared")  # of a batch, beside its inputs
_DOUBTFUL_HEIGHTS = {"p01_s1": (40, 66)}  # slices of FINE near a known lesion that nobody outlined


@dataclass(frozen=True)
class Batch:
    """Slices with their labels, each (B, 1, H, W) beside the inputs.

    Attributes:
        inputs: Channels.
        label: 1 for anomaly, float32.
        weight: Of a :class:`Slab`, 0 outside the brain, float32.
        balance: How much each voxel counts by the anomaly that it is in, see :func:`balanced`.
        spared: Where no false finding is, see :func:`suspected`: at an anomaly, also one of the slice above or below,
            whose faint end may be seen here, and where nobody knows; boolean.
    """

    inputs: SliceInputs
    label: torch.Tensor
    weight: torch.Tensor
    balance: torch.Tensor
    spared: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        parts = (part.to(device, non_blocking=True) for part in vars(self.inputs).values())
        return Batch(SliceInputs(*parts), *(getattr(self, name).to(device) for name in _MAPS))


class Batches:
    """Batches by number.

    Args:
        contrast: The only one that is made; None for all.
        device: That makes them, and where they are; their random numbers are the same on all.
    """

    def __init__(
        self, material: Material, seed: int, contrast: str | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self._material, self._seed, self.priors = material, seed, material.priors
        self._place, self._device = whole_place(FINE, material.priors.to(device)), device
        self._contrasts = _CONTRASTS if contrast is None else {contrast: 1.0}
        self._groups = groups(material.sources, contrast)

    def __getitem__(self, number: int) -> Batch:
        """Batch ``number``."""
        return joined([self._part(np.random.default_rng([self._seed, number, k])) for k in range(SCANS)])

    def _part(self, rng: np.random.Generator) -> Batch:
        """The slices of one scan, or as many single slices."""
        shares = np.array([SHARES[name] for name in self._groups])
        group = list(self._groups)[rng.choice(len(shares), p=shares / shares.sum())]
        names = self._groups[group]
        name = names[rng.integers(len(names))] if group != "slices" else names[int(rng.random() < 0.25) % len(names)]
        inputs = self._material.sources[name]
        if inputs.kind == "slices":
            chosen = rng.integers(0, len(inputs.image) - HELD_OUT_SLICES, SLICES)
            slabs = [self._slab(inputs, inputs.contrast, rng, 1, int(k)) for k in chosen]
            return joined([self._batch(slab, rng) for slab in slabs])
        contrast = rng.choice(list(self._contrasts), p=list(self._contrasts.values()))
        if inputs.kind == "scan" and (contrast == "random" or group == "other scans"):
            contrast = inputs.contrast
        for _ in range(8):
            slab = self._slab(inputs, str(contrast), rng, SLICES)
            low, high = _DOUBTFUL_HEIGHTS.get(name[:6], (0, -1))
            if slab.heights is None or not ((slab.heights >= low) & (slab.heights <= high)).any():
                break
        return self._batch(slab, rng)

    def _slab(self, inputs: Inputs, contrast: str, rng: np.random.Generator, count: int, index: int = 0) -> Slab:
        return synthesize(inputs, contrast, self._material.shapes, rng, count, index, self._device)

    def _batch(self, slab: Slab, rng: np.random.Generator) -> Batch:
        known = slab.heights is not None and rng.random() >= _UNKNOWN_PLACE
        place = self._place[:, slab.heights] if known else None
        contrast = slab.contrast if rng.random() >= _UNKNOWN_CONTRAST else None
        last = len(slab.volume) - NEIGHBORS
        chosen = torch.arange(NEIGHBORS, last, device=self._device)
        inputs = slice_inputs(slab.volume, slab.rank, slab.mask, chosen, contrast, place)
        near = slab.label[chosen - 1] | slab.label[chosen] | slab.label[chosen + 1]
        spared = near[:, None] | ((slab.weight[chosen, None] == 0) & (inputs.brain > 0))
        label = slab.label[chosen, None].float()
        return Batch(inputs, label, slab.weight[chosen, None] * inputs.brain, balanced(label), spared)


def groups(sources: Mapping[str, Inputs], contrast: str | None = None) -> dict[str, list[str]]:
    """Names of the sources by what is drawn alike; of single slices the largest source first, which is drawn most.

    Args:
        sources: By name.
        contrast: The only one that is wanted; None for all of them. Label maps and T1 scans can show any.
    """
    found: dict[str, list[str]] = {name: [] for name in SHARES}
    for name, inputs in sources.items():
        other = inputs.kind == "scan" and (inputs.contrast != "T1" or name.startswith("p0"))
        group = "other scans" if other else "T1 scans" if inputs.kind == "scan" else inputs.kind
        if group in ("labels", "T1 scans") or contrast in (None, inputs.contrast):
            found[group].append(name)
    found["slices"].sort(key=lambda name: len(sources[name].image), reverse=True)
    return {name: members for name, members in found.items() if members}


def joined(parts: list[Batch]) -> Batch:
    """One batch of the slices of several."""
    inputs = SliceInputs(*(torch.cat([getattr(p.inputs, k) for p in parts]) for k in ("fine", "coarse", "brain")))
    return Batch(inputs, *(torch.cat([getattr(p, k) for p in parts]) for k in _MAPS))
