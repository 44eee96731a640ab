"""The published objective: predict the clean slice from a noisy one, on healthy slices only.

Paper: Behrendt et al. 2025, "Guided Reconstruction with Conditioned Diffusion Models for Unsupervised Anomaly Detection
in Brain MRIs", arXiv:2312.04215.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from conddiffusion_uad.model.cddpm import Noise
from conddiffusion_uad.model.schedule import STEPS
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.training.data.slabs import Slabs
from conddiffusion_uad.training.table import Table


@dataclass(frozen=True)
class NoisySlices:
    """What a step learns from; tensors are (B, 1, H, W) but for ``timestep``.

    Attributes:
        healthy: What has to be given back, in [0, 1].
        seen: What the model is given, and is conditioned on.
        weight: Of an error at each pixel.
        timestep: Of the noise, (B,).
        noise: That is put on what is seen.
    """

    healthy: torch.Tensor
    seen: Slices
    weight: torch.Tensor
    timestep: torch.Tensor
    noise: torch.Tensor


@dataclass(frozen=True)
class Denoising(Table):
    """Give back healthy slices from under noise: the mean absolute error of the estimate of x_0 in [-1, 1].

    Attributes:
        timesteps: Lowest and highest t, 1..1000; each in between is as likely.
        one_noise: Whether all slices of a batch get the same noise field, as in the published training.
    """

    timesteps: tuple[int, int] = (1, STEPS)
    one_noise: bool = False
    pretrains: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        lowest, highest = self.timesteps
        if not 1 <= lowest <= highest <= STEPS:
            raise ValueError(f"timesteps are the lowest and the highest one, from 1 to {STEPS}")

    def corrupt(self, slabs: Slabs, noise: Noise, generator: torch.Generator) -> NoisySlices:
        """The slices at random timesteps under noise; see :class:`Objective`."""
        slices = slabs.slices()
        return self._noisy(slices.image, slices, torch.ones_like(slices.image), noise, generator)

    def _noisy(
        self,
        healthy: torch.Tensor,
        seen: Slices,
        weight: torch.Tensor,
        noise: Noise,
        generator: torch.Generator,
    ) -> NoisySlices:
        lowest, highest = self.timesteps
        timestep = torch.randint(lowest, highest + 1, (len(healthy),), generator=generator).to(healthy.device)
        seeds = torch.randint(2**31, (1 if self.one_noise else len(healthy),), generator=generator).tolist()
        return NoisySlices(healthy, seen, weight, timestep, noise(seeds, healthy).expand_as(healthy))

    def loss(self, network: nn.Module, example: NoisySlices) -> torch.Tensor:
        """The weighted mean absolute error in [-1, 1], twice that in [0, 1]."""
        estimate = network(example.seen, example.timestep, example.noise)
        return 2 * (example.weight * (estimate - example.healthy).abs()).mean()
