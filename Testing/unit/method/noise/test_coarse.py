"""Coarse noise is as coarse and as strong as it says."""

from __future__ import annotations

import pytest
import torch

from conddiffusion_uad.method.noise.coarse import Coarse


def test_its_values_are_normal_at_the_nodes_and_linear_between_them() -> None:
    like = torch.zeros(1, 1, 64, 48)
    fields = Coarse(16, 0.2)(range(300), like)
    assert fields.shape == (300, 1, 64, 48) and fields.mean().item() == pytest.approx(0, abs=0.005)
    # Along an axis, f cells from a node, the variance is (1 - f)^2 + f^2, here with f = 1/8 or 3/8; beyond the first
    # and the last node, together as much as one cell, it is 1.
    between = ((7 / 8) ** 2 + (1 / 8) ** 2 + (5 / 8) ** 2 + (3 / 8) ** 2) / 2
    variances = [between + (1 - between) / cells for cells in (16, 12)]
    assert fields.std().item() == pytest.approx(0.2 * (variances[0] * variances[1]) ** 0.5, rel=0.02)
    second = fields[..., 2:] - 2 * fields[..., 1:-1] + fields[..., :-2]
    assert (second.abs() < 1e-6).float().mean() > 0.4  # straight inside of the cells, which are 4 pixels wide


def test_the_nodes_lie_anywhere_and_a_seed_has_one_field() -> None:
    like = torch.zeros(1, 1, 32, 32)
    fields = Coarse(4, 1.0)([5, 6, 5], like)
    assert torch.equal(fields[0], fields[2]) and not torch.equal(fields[0], fields[1])
    many = Coarse(4, 1.0)(range(2000), like)
    by_place = many.var(dim=(0, 1))
    assert by_place.max() / by_place.min() < 1.3  # no place is noisier than another


@pytest.mark.parametrize("wrong", [{"cells": 1}, {"cells": 16.0}, {"std": -0.1}, {"std": float("nan")}])
def test_what_it_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"cells|std"):
        Coarse(**wrong)
