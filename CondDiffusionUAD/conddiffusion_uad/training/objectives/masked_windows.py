"""The objective of masked diffusion: give back the hidden patches of a window from under noise, beside the visible
ones.

Paper: Xu et al. 2024, arXiv:2401.10561; see ``method.restore.masked_patches``.

The window lies anywhere, a random share of its patches is hidden, and the mean absolute error of the estimate of x_0 in
[-1, 1] counts in them alone. The condition sees the slice without them, or the answer would lie in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from conddiffusion_uad.method.restore.masked_patches import MaskedPatches, deal
from conddiffusion_uad.model.cddpm import Noise
from conddiffusion_uad.training.data.slabs import Slabs
from conddiffusion_uad.training.objectives.patched import PartlyNoisy, PatchedDenoising


@dataclass(frozen=True)
class MaskedWindows(PatchedDenoising):
    """Give back hidden patches of a window from under noise.

    Attributes:
        size: Side of the window in pixels.
        side: Of a patch in pixels.
        turns: One of that many patches is visible.
    """

    side: int = 8
    turns: int = 4
    noised: ClassVar[str] = MaskedPatches.noised

    def __post_init__(self) -> None:
        super().__post_init__()
        MaskedPatches(size=self.size, stride=self.size, side=self.side, turns=self.turns)  # checks them

    def corrupt(self, slabs: Slabs, noise: Noise, generator: torch.Generator) -> PartlyNoisy:
        """The slices at random timesteps with noise in hidden patches of a random window; see :class:`Objective`."""
        noisy = super().corrupt(slabs, noise, generator)
        shape = noisy.healthy.shape[2:]
        dealt = torch.stack([deal(shape, self.side, self.turns, generator) for _ in range(len(noisy.healthy))])
        hidden = noisy.where & (dealt.to(noisy.where.device) != 0)
        # Where chance shows all patches of a window, as it does with a single one, the whole window is hidden.
        where = torch.where(hidden.flatten(1).any(1).view(-1, 1, 1, 1), hidden, noisy.where)
        return PartlyNoisy(**{**vars(noisy), "where": where})

    def loss(self, network: nn.Module, example: PartlyNoisy) -> torch.Tensor:
        """The mean absolute error in [-1, 1] in the hidden patches."""
        told = example.seen.hiding(example.where)
        estimate = network(example.seen, example.timestep, example.noise, where=example.where, told=told)
        return 2 * (estimate - example.healthy).abs()[example.where].mean()
