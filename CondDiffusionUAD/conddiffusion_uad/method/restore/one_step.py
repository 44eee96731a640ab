"""The published reconstruction: noise a slice to several timesteps and predict it back from each in one step."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.job import are_levels

AT_ONCE = 4  # timesteps that are computed together


@dataclass(frozen=True)
class OneStep:
    """One sample for each timestep, each from one forward pass.

    Attributes:
        timesteps: t in 1..1000, different ones.
    """

    timesteps: tuple[int, ...]

    def __post_init__(self) -> None:
        if not are_levels(self.timesteps):
            raise ValueError("timesteps are different whole numbers from 1 to 1000")

    def __call__(self, model: ConditionedDiffusion, slices: Slices, seeds: Seeds) -> torch.Tensor:
        """Estimates of the healthy slices, float32 (timesteps, B, 1, H, W)."""
        condition = model.encoder(slices)
        samples = []
        for start in range(0, len(self.timesteps), AT_ONCE):
            group = self.timesteps[start : start + AT_ONCE]
            noise = torch.cat([model.noise(seeds.of(timestep), slices.image) for timestep in group])
            timestep = torch.tensor(group, device=slices.image.device).repeat_interleave(len(slices))
            copies = len(group)
            estimate = model(Slices.cat([slices] * copies), timestep, noise, torch.cat([condition] * copies))
            samples.append(estimate.view(copies, *slices.image.shape))
        return torch.cat(samples)
