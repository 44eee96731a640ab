"""Restoration in stages: only what differs is replaced, and the rest of the scan is put back, again and again.

Paper: Bi et al. 2024, "Synomaly Noise and Multi-Stage Diffusion", arXiv:2411.04004.

A stage noises ``x_k`` to a timestep and predicts ``x_hat`` in one step. With
``D = [Gaussian(|x - x_hat|) > threshold]``, of which small spots are left out, the next stage goes on from
``x_(k+1) = D x_hat + (1 - D) x``. It ends when D changes by no more than a share of itself, or after some rounds.

What differs: ``x_hat`` is always compared with the scan itself, not with the last stage, whose replaced parts would
fall out of D again; and the condition, if there is one, sees the scan in the first stage and later what the network is
given, so that a lesion does not come back through it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from conddiffusion_uad.method.checks import require_whole
from conddiffusion_uad.method.restore.each_timestep import EachTimestep
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.schedule import STEPS
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.job import is_number

MOST_ROUNDS = 20


@dataclass(frozen=True)
class MultiStage(EachTimestep):
    """One sample for each timestep, the reconstruction of its last stage.

    Attributes:
        timesteps: t in 1..1000, different ones.
        threshold: Of the smoothed difference, in units of normalized intensity.
        sigma: Of the Gaussian that smooths it, pixels.
        smallest: Pixels of the smallest spot that is replaced.
        rounds: Stages at most.
        change: Share of its pixels by which D may change at the end.
    """

    timesteps: tuple[int, ...] = (200,)
    threshold: float = 0.1
    sigma: float = 1.0
    smallest: int = 30
    rounds: int = 5
    change: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, low, high in (("threshold", 1e-6, 1), ("sigma", 0.1, 64), ("change", 0, 1)):
            if not is_number(getattr(self, name), low, high):
                raise ValueError(f"{name} is a number from {low:g} to {high}")
        require_whole(self, smallest=10**6, rounds=MOST_ROUNDS)

    def passes(self, height: int, width: int) -> int:
        """See ``Restorer``."""
        return self.rounds * len(self.timesteps)

    def __call__(self, model: ConditionedDiffusion, slices: Slices, seeds: Seeds) -> torch.Tensor:
        """Estimates of the healthy slices, float32 (timesteps, B, 1, H, W)."""
        return torch.stack([self._at(timestep, model, slices, seeds) for timestep in self.timesteps])

    def _at(self, timestep: int, model: ConditionedDiffusion, slices: Slices, seeds: Seeds) -> torch.Tensor:
        level = torch.full((len(slices),), timestep, device=slices.image.device)
        given, replaced, estimate = slices, torch.zeros_like(slices.brain), slices.image
        settled = torch.zeros_like(slices.brain[:, :, :1, :1])  # slices whose D has come to rest
        for stage in range(self.rounds):
            noise = model.noise(seeds.of(timestep + stage * (STEPS + 1)), slices.image)
            estimate = torch.where(settled, estimate, model(given, level, noise))
            found = self.different(slices, estimate)
            if stage:
                changed, before = ((of_slice.sum((2, 3), keepdim=True)) for of_slice in (found ^ replaced, replaced))
                settled = settled | (changed <= self.change * before)
            if bool(settled.all()):
                break
            replaced = found
            given = slices.with_image(torch.where(found, estimate, slices.image))
        return estimate

    def different(self, slices: Slices, estimate: torch.Tensor) -> torch.Tensor:
        """D: where slices and what became of them differ, boolean (B, 1, H, W), inside the brain."""
        differences = ((slices.image - estimate).detach().abs() * slices.brain)[:, 0].cpu().numpy()
        found = np.stack([self._spots(difference) for difference in differences])
        return torch.from_numpy(found).unsqueeze(1).to(slices.image.device) & slices.brain

    def _spots(self, difference: np.ndarray) -> np.ndarray:
        spots, _ = ndimage.label(ndimage.gaussian_filter(difference, self.sigma) > self.threshold, np.ones((3, 3)))
        sizes = np.bincount(spots.ravel())
        sizes[0] = 0  # what is no spot
        return sizes[spots] >= self.smallest
