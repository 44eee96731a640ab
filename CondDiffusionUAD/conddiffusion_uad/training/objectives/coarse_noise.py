"""The objective of a denoising autoencoder: take coarse noise out of a healthy slice.

Paper: Kascenas et al. 2023, arXiv:2301.08330: ``mean over the foreground of (f(x + n) - x)^2``, with n the noise that
the recipe names (``noise = { kind = "coarse", ... }``) inside the brain.

What differs: the network is the denoiser of the other methods, told the timestep 1; a condition, if there is one, sees
the corrupted slice, as everything else that the network is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from conddiffusion_uad.method.restore.one_pass import OnePass
from conddiffusion_uad.model.cddpm import Noise
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.training.data.slabs import Slabs
from conddiffusion_uad.training.table import Table, require_range

MOST = 10.0  # times the noise


@dataclass(frozen=True)
class Corrupted:
    """What a step learns from.

    Attributes:
        healthy: What has to be given back, (B, 1, H, W) in [0, 1].
        seen: The same with noise in it.
        timestep: What the network is told, (B,).
    """

    healthy: torch.Tensor
    seen: Slices
    timestep: torch.Tensor


@dataclass(frozen=True)
class CoarseNoise(Table):
    """Take noise out of healthy slices: the mean squared error inside the brain, of intensities in [0, 1].

    Attributes:
        strength: What the noise is multiplied with.
    """

    strength: float = 1.0
    pretrains: ClassVar[bool] = False
    noised: ClassVar[str] = OnePass.noised

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self.strength, 0, MOST, "strength")

    def corrupt(self, slabs: Slabs, noise: Noise, generator: torch.Generator) -> Corrupted:
        """The slices with noise inside the brain; see :class:`Objective`."""
        slices = slabs.slices()
        seeds = torch.randint(2**31, (len(slices),), generator=generator).tolist()
        added = self.strength * noise(seeds, slices.image) * slices.brain
        told = torch.full((len(slices),), OnePass().timesteps[0], device=slices.image.device)
        return Corrupted(slices.image, slices.with_image(slices.image + added), told)

    def loss(self, network: nn.Module, example: Corrupted) -> torch.Tensor:
        """The mean squared error inside the brain; 0 where no slice shows one."""
        image, brain = example.seen.image, example.seen.brain
        nowhere = torch.zeros_like(brain)
        estimate = network(example.seen, example.timestep, torch.zeros_like(image), where=nowhere)
        return ((estimate - example.healthy) ** 2 * brain).sum() / brain.sum().clamp(min=1)
