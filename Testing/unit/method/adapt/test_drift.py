"""A drift shifts the noise, and nothing else, as long as it lasts."""

from __future__ import annotations

import pytest
import torch
from restoring import told

from conddiffusion_uad.method.adapt.drift import Drift
from conddiffusion_uad.model.slices import Slices

SLICES = Slices.of(torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


def test_what_the_network_sees_is_shifted_by_delta_times_the_part_of_the_noise() -> None:
    model = told(lambda noisy: noisy)
    level = torch.full((2,), 500)
    model(SLICES, level, model.noise([1, 2], SLICES.image))
    with Drift(0.1)(model, SLICES) as drifting:
        drifting(SLICES, level, drifting.noise([1, 2], SLICES.image))
    model(SLICES, level, model.noise([1, 2], SLICES.image))
    usual, shifted, after = model.denoiser.seen
    assert torch.allclose(shifted, usual + 0.1 * model.schedule.sqrt_one_minus_alphas_cumprod[500], atol=1e-6)
    assert torch.equal(after, usual)
    with pytest.raises(KeyError), Drift(0.1)(model, SLICES):
        raise KeyError
    assert torch.equal(model.noise([1], SLICES.image), told(lambda noisy: noisy).noise([1], SLICES.image))


def test_more_than_the_whole_range_is_refused() -> None:
    with pytest.raises(ValueError, match="shift"):
        Drift(1.5)
