"""Patched diffusion: noise in one square, and nothing but the square is learned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_model import GRID, tiny_config
from torch import nn

from conddiffusion_uad.training.data.slabs import Slabs, View
from conddiffusion_uad.training.objectives.patched import PatchedDenoising

NOISE = tiny_config().method.noise


def slabs(count: int = 64, side: int = 16) -> Slabs:
    volume = torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))
    place = torch.zeros(count, dtype=torch.long)
    return Slabs(volume, volume > 0, place, place, place, View(GRID))


def test_squares_are_whole_and_lie_anywhere() -> None:
    where = PatchedDenoising(size=6).corrupt(slabs(1000), NOISE, torch.Generator().manual_seed(1)).where
    assert where.shape == (1000, 1, 16, 16) and (where.sum((1, 2, 3)) == 36).all()
    assert bool(where.any(dim=0).all())  # no pixel is never learned
    rows, columns = where.any(dim=3), where.any(dim=2)
    assert (rows.sum(2) == 6).all() and (columns.sum(2) == 6).all()


def test_errors_outside_the_square_do_not_count_and_the_network_is_told_where() -> None:
    objective = PatchedDenoising(size=6)
    example = objective.corrupt(slabs(), NOISE, torch.Generator().manual_seed(1))

    class Off(nn.Module):
        """Is wrong by 0.1 inside the square, and by 5 outside."""

        def forward(self, *_: Any, where: torch.Tensor) -> torch.Tensor:
            assert torch.equal(where, example.where)
            return example.healthy + torch.where(where, 0.1, 5.0)

    assert objective.loss(Off(), example).item() == pytest.approx(0.2, rel=1e-4)


def test_a_square_without_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        PatchedDenoising(size=0)
