"""The published reconstruction: noise a slice to several timesteps and predict it back from each in one step.

Paper: Behrendt et al. 2025, "Guided Reconstruction with Conditioned Diffusion Models for Unsupervised Anomaly Detection
in Brain MRIs", arXiv:2312.04215.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from conddiffusion_uad.method.restore.each_timestep import EachTimestep
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices

AT_ONCE = 4  # passes that are computed together


@dataclass(frozen=True)
class OneStep(EachTimestep):
    """One sample for each timestep, each from one forward pass.

    Attributes:
        timesteps: t in 1..1000, different ones.
    """

    def __call__(self, model: ConditionedDiffusion, slices: Slices, seeds: Seeds) -> torch.Tensor:
        """Estimates of the healthy slices, float32 (timesteps, B, 1, H, W)."""
        return estimates(model, slices, seeds, [(timestep, timestep) for timestep in self.timesteps])


def estimates(
    model: ConditionedDiffusion,
    slices: Slices,
    seeds: Seeds,
    passes: Sequence[tuple[int, int]],
    condition: torch.Tensor | None = None,
) -> torch.Tensor:
    """What the model makes of slices in some passes, float32 (passes, B, 1, H, W).

    Args:
        passes: Timestep of each, and the stream of seeds that its noise comes from.
        condition: (B, D), if it is another than the encoder's.
    """
    condition = model.encoder(slices) if condition is None else condition
    samples = []
    for start in range(0, len(passes), AT_ONCE):
        timesteps, streams = zip(*passes[start : start + AT_ONCE], strict=True)
        noise = torch.cat([model.noise(seeds.of(stream), slices.image) for stream in streams])
        timestep = torch.tensor(timesteps, device=slices.image.device).repeat_interleave(len(slices))
        copies = len(timesteps)
        estimate = model(Slices.cat([slices] * copies), timestep, noise, torch.cat([condition] * copies))
        samples.append(estimate.view(copies, *slices.image.shape))
    return torch.cat(samples)
