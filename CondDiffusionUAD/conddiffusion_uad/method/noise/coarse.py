"""Coarse noise: Gaussian values on a coarse grid, linear in between.

Paper: Kascenas et al. 2023, "The role of noise in denoising models for anomaly detection in medical images",
arXiv:2301.08330, whose finding is that the resolution and the strength of the noise, not the model, decide what a
denoiser detects.

A grid of independent normal values is brought to the size of the slice by bilinear interpolation, and shifted around by
a random number of pixels along both axes, so that the nodes of the grid lie anywhere.

What differs: the number of cells is that of the longer side, and cells are square, because slices here need not be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from conddiffusion_uad.protocol.job import is_number

MOST = 1024  # cells


@dataclass(frozen=True)
class Coarse:
    """Gaussian noise with a coarse resolution.

    Attributes:
        cells: Values along the longer side of a slice.
        std: Their standard deviation; in between it is smaller.
    """

    cells: int = 16
    std: float = 0.2

    def __post_init__(self) -> None:
        if type(self.cells) is not int or not is_number(self.cells, 2, MOST):
            raise ValueError(f"cells is a whole number from 2 to {MOST}")
        if not is_number(self.std, 0, 10):
            raise ValueError("std is a number from 0 to 10")

    def __call__(self, seeds: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        """A field for each seed, float32 (seeds, 1, H, W); drawn on the CPU, so devices agree."""
        height, width = like.shape[2:]
        return torch.stack([self._field(int(seed), height, width) for seed in seeds]).to(like.device)

    def _field(self, seed: int, height: int, width: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        rows, columns = (max(2, math.ceil(self.cells * side / max(height, width))) for side in (height, width))
        values = self.std * torch.randn(1, 1, rows, columns, generator=generator)
        field = functional.interpolate(values, size=(height, width), mode="bilinear", align_corners=False)[0]
        shifts = [int(torch.randint(side, (), generator=generator)) for side in (height, width)]
        return field.roll(shifts, dims=(1, 2))
