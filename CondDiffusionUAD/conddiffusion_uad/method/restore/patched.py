"""Patched diffusion: noise one square of a slice at a time, and let the rest of the slice, unchanged, explain it.

Paper: Behrendt et al. 2023, "Patched Diffusion Models for Unsupervised Anomaly Detection in Brain MRI",
arXiv:2303.03758.

With a square of ones m, the network is given ``m (sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) n) + (1 - m) x_0``, and
of its answer only the square counts. The squares of a regular grid cover the slice; where they overlap, the mean of the
answers is taken. The network has learned it by the objective "patched".

What differs: squares at the far rims are moved inward, where the published size divides the slice; several timesteps
are averaged as in the later conditioned model; and there may be a condition, which sees the whole slice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from conddiffusion_uad.method.restore.each_timestep import EachTimestep
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.job import is_number

MOST = 1024  # pixels of a square's side


@dataclass(frozen=True)
class Patched(EachTimestep):
    """One sample for each timestep, put together from squares that were noised one at a time.

    Attributes:
        timesteps: t in 1..1000, different ones.
        size: Side of a square in pixels.
        stride: Pixels from one square to the next, at most ``size``.
    """

    timesteps: tuple[int, ...] = (500,)
    size: int = 48
    stride: int = 48
    noised: ClassVar[str] = "in one square"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_squares(self.size, self.stride)

    def passes(self, height: int, width: int) -> int:
        """See ``Restorer``."""
        return count_squares(height, width, self.size, self.stride) * len(self.timesteps)

    def __call__(self, model: ConditionedDiffusion, slices: Slices, seeds: Seeds) -> torch.Tensor:
        """Estimates of the healthy slices, float32 (timesteps, B, 1, H, W)."""
        condition = model.encoder(slices)
        return torch.stack([self._at(t, model, slices, condition, seeds) for t in self.timesteps])

    def _at(
        self, timestep: int, model: ConditionedDiffusion, slices: Slices, condition: torch.Tensor, seeds: Seeds
    ) -> torch.Tensor:
        image = slices.image
        noise = model.noise(seeds.of(timestep), image)
        level = torch.full((len(slices),), timestep, device=image.device)
        total, count = torch.zeros_like(image), torch.zeros_like(image)
        for square in squares(image, self.size, self.stride):
            total += square * model(slices, level, noise, condition, square.expand_as(image))
            count += square
        return total / count


def require_squares(size: int, stride: int) -> None:
    """Raise ValueError unless squares of a size at such distances leave no gap."""
    for name, value, most in (("size", size, MOST), ("stride", stride, size)):
        if type(value) is not int or not is_number(value, 1, most):
            raise ValueError(f"{name} is a whole number of pixels from 1 to {most}")


def squares(image: torch.Tensor, size: int, stride: int) -> Iterator[torch.Tensor]:
    """Squares that cover an image (B, 1, H, W), each a boolean map (1, 1, H, W)."""
    for top in _starts(image.shape[2], size, stride):
        for left in _starts(image.shape[3], size, stride):
            square = torch.zeros(1, 1, *image.shape[2:], dtype=torch.bool, device=image.device)
            square[:, :, top : top + size, left : left + size] = True
            yield square


def count_squares(height: int, width: int, size: int, stride: int) -> int:
    """How many squares cover a slice of that many pixels."""
    return len(_starts(height, size, stride)) * len(_starts(width, size, stride))


def _starts(extent: int, size: int, stride: int) -> list[int]:
    last = max(extent - size, 0)
    return [*range(0, last, stride), last]
