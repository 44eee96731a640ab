"""Masked patches in overlapping windows: what is visible of a window, and all around it, explains what is hidden.

Paper: Xu et al. 2024, "MAEDiff: Masked Autoencoder-enhanced Diffusion Models for Unsupervised Anomaly Detection in
Brain Images", arXiv:2401.10561.

Windows that overlap cover the slice. In each, the small patches are dealt at random to some passes; a pass shows its
own patches and noises the others, so that every patch is hidden in all passes but one. The condition sees the slice
without what is hidden. Of each answer the hidden patches count, and the mean over passes and windows is the
reconstruction. The network has learned it by the objective "masked_windows".

What differs: the number of passes says the share that is hidden (4 passes: the published 75 %), so that no patch is
left out by chance; the rest of the slice around a window is context, as in patched diffusion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from conddiffusion_uad.method.restore.each_timestep import EachTimestep
from conddiffusion_uad.method.restore.patched import count_squares, require_squares, squares
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.schedule import STEPS
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.job import is_number

MOST_TURNS = 16


@dataclass(frozen=True)
class MaskedPatches(EachTimestep):
    """One sample for each timestep, put together from windows whose patches were hidden in turn.

    Attributes:
        timesteps: t in 1..1000, different ones.
        size: Side of a window in pixels.
        stride: Pixels from one window to the next, at most ``size``.
        side: Of a patch in pixels, at most ``size``.
        turns: Passes over each window; one of that many patches is visible in each.
    """

    timesteps: tuple[int, ...] = (500,)
    size: int = 48
    stride: int = 24
    side: int = 8
    turns: int = 4
    noised: ClassVar[str] = "in patches of a window"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_squares(self.size, self.stride)
        if type(self.side) is not int or not is_number(self.side, 1, self.size):
            raise ValueError("side is a whole number of pixels from 1 to size")
        if type(self.turns) is not int or not is_number(self.turns, 2, MOST_TURNS):
            raise ValueError(f"turns is a whole number from 2 to {MOST_TURNS}")

    def passes(self, height: int, width: int) -> int:
        """See ``Restorer``."""
        return self.turns * count_squares(height, width, self.size, self.stride) * len(self.timesteps)

    def __call__(self, model: ConditionedDiffusion, slices: Slices, seeds: Seeds) -> torch.Tensor:
        """Estimates of the healthy slices, float32 (timesteps, B, 1, H, W)."""
        return torch.stack([self._at(timestep, model, slices, seeds) for timestep in self.timesteps])

    def _at(self, timestep: int, model: ConditionedDiffusion, slices: Slices, seeds: Seeds) -> torch.Tensor:
        image = slices.image
        noise = model.noise(seeds.of(timestep), image)
        level = torch.full((len(slices),), timestep, device=image.device)
        total, count = torch.zeros_like(image), torch.zeros_like(image)
        for hidden in self.hidden(image, timestep, seeds):
            condition = model.encoder(slices.hiding(hidden))
            total += hidden * model(slices, level, noise, condition, hidden)
            count += hidden
        return total / count

    def hidden(self, image: torch.Tensor, timestep: int, seeds: Seeds) -> Iterator[torch.Tensor]:
        """What is hidden in each pass over each window, boolean (B, 1, H, W)."""
        for number, window in enumerate(squares(image, self.size, self.stride)):
            generators = [
                torch.Generator().manual_seed(seed) for seed in seeds.of(timestep + (number + 1) * (STEPS + 1))
            ]
            dealt = torch.stack([deal(image.shape[2:], self.side, self.turns, g) for g in generators]).to(image.device)
            for turn in range(self.turns):
                yield window & (dealt != turn)


def deal(shape: torch.Size, side: int, passes: int, generator: torch.Generator) -> torch.Tensor:
    """In which pass each patch of an image is visible, whole numbers (1, H, W); about as many in each.

    Args:
        side: Of a patch in pixels.
    """
    rows, columns = (-(-extent // side) for extent in shape)
    order = torch.randperm(rows * columns, generator=generator).view(rows, columns) % passes
    large = order.repeat_interleave(side, 0).repeat_interleave(side, 1)
    return large[: shape[0], : shape[1]].unsqueeze(0)
