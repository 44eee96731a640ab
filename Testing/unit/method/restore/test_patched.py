"""Patched diffusion: one noisy square at a time, put together without a gap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from restoring import Told, told
from tiny_model import tiny_method

from conddiffusion_uad.method.restore.patched import Patched, squares
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.slices import Slices

SEEDS = Seeds(0, np.arange(2))


def slices(height: int = 16, width: int = 20) -> Slices:
    return Slices.of(torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1)


def test_a_constant_network_gives_the_constant_everywhere() -> None:
    model = told(lambda noisy: torch.full_like(noisy, 0.5))
    found = Patched((500,), 8, 6)(model, slices(), SEEDS)
    assert found.shape == (1, 2, 1, 16, 20)
    assert torch.allclose(found, torch.tensor(0.75))  # of [-1, 1]


def test_what_is_answered_counts_only_inside_the_square() -> None:
    """A network that gives back what it sees: each square comes back noisy once, and nothing of the clean rest."""
    model = told(lambda noisy: noisy)
    image = slices()
    found = Patched((500,), 8, 8)(model, image, SEEDS)[0]
    noise = model.noise(SEEDS.of(500), image.image)
    expected = (model.schedule.add_noise(2 * image.image - 1, noise, torch.tensor([500, 500])) + 1) / 2
    overlapped = torch.stack(list(squares(image.image, 8, 8))).sum(dim=0)[0, 0]
    assert overlapped.min() == 1 and overlapped.max() == 2  # 20 is no multiple of 8
    assert torch.allclose(found, expected, atol=1e-6)  # the same noise in all squares
    assert len(model.denoiser.seen) == 2 * 3
    for noisy, square in zip(model.denoiser.seen, squares(image.image, 8, 8), strict=True):
        clean = ~square.expand_as(noisy)
        assert torch.equal(noisy[clean], (2 * image.image - 1)[clean])
        assert not torch.isclose(noisy[~clean], (2 * image.image - 1)[~clean]).all()


def test_a_square_larger_than_the_slice_covers_it() -> None:
    (square,) = set(map(torch.Tensor.all, squares(slices(8, 8).image, 48, 48)))
    assert bool(square)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": 8, "stride": 9}, {"size": 8.0}, {"timesteps": ()}])
def test_squares_that_leave_gaps_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"size|stride|timesteps"):
        Patched(**wrong)


def test_there_is_a_sample_for_each_timestep() -> None:
    part = Patched((300, 600), 8, 8)
    assert part.samples == 2 and part(Told.of(tiny_method(restore=part)), slices(), SEEDS).shape[0] == 2
