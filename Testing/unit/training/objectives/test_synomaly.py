"""Synomaly noise is the model's noise with blobs in it."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from tiny_model import GRID

from conddiffusion_uad.method.noise.gaussian import Gaussian
from conddiffusion_uad.training.data.slabs import Slabs, View
from conddiffusion_uad.training.objectives.denoising import Denoising
from conddiffusion_uad.training.objectives.synomaly import Synomaly


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_blobs_add_at_least_the_offset_and_are_nothing_elsewhere() -> None:
    drawn = torch.stack([Synomaly(sign="brighter").blobs(64, 64, generator(seed)) for seed in range(20)])
    inside = drawn > 0
    assert 0.01 < inside.float().mean() < 0.35
    assert drawn[inside].min() >= 0.5 and drawn[inside].max() <= 1.5
    assert drawn[inside].mean().item() == pytest.approx(1.0, abs=0.03)  # u + 0.5, u uniform
    assert (Synomaly(sign="darker").blobs(64, 64, generator()) <= 0).all()


def test_blobs_are_as_wide_as_sigma_says() -> None:
    spots = [
        ndimage.label(Synomaly(sigma=sigma).blobs(128, 128, generator())[0].numpy() != 0)[1] for sigma in (1.5, 6.0)
    ]
    assert spots[0] > 4 * spots[1] > 0


def test_both_signs_come_one_for_each_slice() -> None:
    sums = [Synomaly().blobs(64, 64, generator(seed)) for seed in range(40)]
    assert all((one >= 0).all() or (one <= 0).all() for one in sums)
    assert 8 < sum(bool((one > 0).any()) for one in sums) < 32


def test_the_rest_of_the_noise_is_the_models_own() -> None:
    volume = torch.rand(4, 1, 32, 32, generator=generator())
    place = torch.zeros(4, dtype=torch.long)
    slabs = Slabs(volume, volume > 0, place, place, place, View(GRID))
    plain = Denoising().corrupt(slabs, Gaussian(), generator(1))
    made = Synomaly().corrupt(slabs, Gaussian(), generator(1))
    added = made.noise - plain.noise
    assert torch.equal(made.timestep, plain.timestep) and torch.equal(made.healthy, plain.healthy)
    assert bool(added.any()) and (added == 0).float().mean() > 0.6
    assert len({float(field.sum()) for field in added}) == 4


@pytest.mark.parametrize("wrong", [{"sigma": 0.0}, {"threshold": 300.0}, {"offset": -1.0}, {"sign": "up"}])
def test_what_it_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"sigma|threshold|offset|sign"):
        Synomaly(**wrong)
