"""The objective of patched diffusion: give back one square of a healthy slice from under noise, beside the clean rest.

Paper: Behrendt et al. 2023, arXiv:2303.03758; see ``method.restore.patched`` for the formula.

The square lies anywhere with the same probability, and the mean absolute error of the estimate of x_0 in [-1, 1] counts
inside it alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from conddiffusion_uad.method.restore.patched import require_squares
from conddiffusion_uad.model.cddpm import Noise
from conddiffusion_uad.training.data.slabs import Slabs
from conddiffusion_uad.training.objectives.denoising import Denoising, NoisySlices


@dataclass(frozen=True)
class PartlyNoisy(NoisySlices):
    """What a step learns from, noised in places.

    Attributes:
        where: Where there is noise, and where errors count, boolean (B, 1, H, W).
    """

    where: torch.Tensor


@dataclass(frozen=True)
class PatchedDenoising(Denoising):
    """Give back a square from under noise.

    Attributes:
        size: Side of the square in pixels.
    """

    size: int = 48
    noised: ClassVar[str] = "in one square"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_squares(self.size, self.size)

    def corrupt(self, slabs: Slabs, noise: Noise, generator: torch.Generator) -> PartlyNoisy:
        """The slices at random timesteps with noise in a random square; see :class:`Objective`."""
        noisy = super().corrupt(slabs, noise, generator)
        return PartlyNoisy(**vars(noisy), where=self._squares(noisy.healthy, generator))

    def loss(self, network: nn.Module, example: PartlyNoisy) -> torch.Tensor:
        """The mean absolute error in [-1, 1] inside the squares."""
        estimate = network(example.seen, example.timestep, example.noise, where=example.where)
        return 2 * (estimate - example.healthy).abs()[example.where].mean()

    def _squares(self, image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        where = torch.zeros_like(image, dtype=torch.bool)
        for of_slice in where:
            top, left = (
                int(torch.randint(max(extent - self.size, 0) + 1, (), generator=generator))
                for extent in image.shape[2:]
            )
            of_slice[:, top : top + self.size, left : left + self.size] = True
        return where
