"""Repeated reconstructions differ by their noise alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from restoring import Told, told
from tiny_model import tiny_method, trained

from conddiffusion_uad.method.restore.one_step import OneStep
from conddiffusion_uad.method.restore.repeated import Repeated
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.slices import Slices

SEEDS = Seeds(0, np.arange(2))
SLICES = Slices.of(torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)))


def test_the_first_draw_is_the_single_reconstruction_and_the_others_are_new() -> None:
    model = trained(Told.of(tiny_method()))
    with torch.no_grad():
        found = Repeated((300, 600), 3)(model, SLICES, SEEDS)
        once = OneStep((300, 600))(model, SLICES, SEEDS)
    assert found.shape == (Repeated((300, 600), 3).samples, 2, 1, 16, 16)
    assert torch.allclose(found[:2], once, atol=1e-6)
    assert len({float(sample.sum()) for sample in found}) == 6


def test_all_draws_of_a_timestep_are_at_this_timestep() -> None:
    model = told(lambda noisy: noisy)
    Repeated((300, 600), 5)(model, SLICES, SEEDS)
    assert [t for of_pass in model.denoiser.timesteps for t in of_pass] == [300, 300, 600, 600] * 5
    noisy = torch.cat(model.denoiser.seen).flatten(1)
    assert len(torch.unique(noisy, dim=0)) == 20


@pytest.mark.parametrize("wrong", [{"draws": 0}, {"draws": 2.0}, {"timesteps": (0,)}])
def test_what_it_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"draws|timesteps"):
        Repeated(**wrong)
