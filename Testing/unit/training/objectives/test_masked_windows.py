"""Masked diffusion: hidden patches of a window are learned, and the condition does not see them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_model import GRID, tiny_config
from torch import nn

from conddiffusion_uad.training.data.slabs import Slabs, View
from conddiffusion_uad.training.objectives.masked_windows import MaskedWindows

OBJECTIVE = MaskedWindows(size=12, side=4, turns=4)


def example(objective: MaskedWindows = OBJECTIVE, count: int = 200) -> Any:
    volume = torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    place = torch.zeros(count, dtype=torch.long)
    slabs = Slabs(volume, volume > 0, place, place, place, View(GRID))
    return objective.corrupt(slabs, tiny_config().method.noise, torch.Generator().manual_seed(1))


def test_three_of_four_patches_of_a_window_are_hidden() -> None:
    where = example().where
    assert where.sum((1, 2, 3)).float().mean().item() == pytest.approx(0.75 * 144, rel=0.03)
    assert (where.any(dim=3).sum(2) <= 12).all()


def test_errors_count_in_hidden_patches_which_the_condition_does_not_see() -> None:
    made = example()

    class Off(nn.Module):
        """Is wrong by 0.1 in hidden patches, and by 5 outside."""

        def forward(self, slices: Any, *_: Any, where: torch.Tensor, told: Any) -> torch.Tensor:
            assert not told.image[where].any() and not told.brain[where].any()
            assert torch.equal(told.image[~where], slices.image[~where]) and slices.image[where].all()
            return made.healthy + torch.where(where, 0.1, 5.0)

    assert OBJECTIVE.loss(Off(), made).item() == pytest.approx(0.2, rel=1e-4)


@pytest.mark.parametrize(("size", "count"), [(16, 1), (4, 40)])
def test_every_slice_has_something_to_learn(size: int, count: int) -> None:
    """Where all patches of a window are visible, as one as large as the slice always is, the window is hidden whole."""
    made = example(MaskedWindows(size=size, side=size), count)
    assert made.where.flatten(1).any(1).all()

    def guess(*_: Any, **__: Any) -> torch.Tensor:
        return made.healthy + 0.1

    assert MaskedWindows.loss(OBJECTIVE, guess, made).item() == pytest.approx(0.2, rel=1e-4)  # type: ignore[arg-type]


def test_windows_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(ValueError, match="side"):
        MaskedWindows(size=6, side=8)
