"""Low-rank changes fit the model to what looks healthy in a scan, and leave no trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from restoring import Told
from tiny_model import tiny_method, trained
from torch import nn

from conddiffusion_uad.method.adapt.low_rank import LowRank, likely_healthy
from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.fast.inference import accelerated
from conddiffusion_uad.model.slices import Slices

SLICES = Slices.of(torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.3)
SEEDS = Seeds(0, np.arange(6))
PART = LowRank(rank=2, steps=25, learning_rate=1e-2, timestep=300, batch=4)


@pytest.fixture
def model() -> ConditionedDiffusion:
    return trained(Told.of(tiny_method()))


def linear(model: ConditionedDiffusion) -> dict[str, torch.Tensor]:
    parts = model.denoiser.named_modules()
    return {name: part.weight.detach().clone() for name, part in parts if isinstance(part, nn.Linear)}


def test_the_model_fits_the_scan_better_and_is_again_what_it_was(model: ConditionedDiffusion) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    usual, weights = PART.loss(model, SLICES, SEEDS).item(), linear(model)
    with PART(model, SLICES) as adapted:
        assert adapted.state_dict().keys() == before.keys()  # the same layers
        assert PART.loss(adapted, SLICES, SEEDS).item() < 0.98 * usual
        ranks = {int(torch.linalg.matrix_rank(w - weights[name], atol=1e-5)) for name, w in linear(adapted).items()}
        assert max(ranks) == 2
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(KeyError), PART(model, SLICES):
        raise KeyError
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_same_scan_is_fitted_in_the_same_way_and_the_fast_form_computes_it(model: ConditionedDiffusion) -> None:
    weights = []
    for _ in range(2):
        with PART(model, SLICES) as adapted:
            weights.append(linear(adapted))
            level, noise = torch.full((6,), 300), model.noise(SEEDS.of(1), SLICES.image)
            fast = accelerated(adapted, torch.float32)
            with torch.no_grad():
                assert torch.allclose(fast(SLICES, level, noise), adapted(SLICES, level, noise), atol=1e-4)
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_network_without_condition_is_fitted_too() -> None:
    model = trained(Told.of(tiny_method(condition=Unconditional())))
    with replace(PART, steps=2)(model, SLICES):
        pass


def test_what_differs_most_in_a_slice_does_not_count() -> None:
    residual = torch.arange(1.0, 17).view(1, 1, 4, 4).repeat(2, 1, 1, 1)
    brain = torch.ones_like(residual, dtype=torch.bool)
    brain[0, 0, 0] = False  # 1..4
    brain[1] = False
    counted = likely_healthy(residual, brain, 0.5)
    assert residual[0][counted[0]].tolist() == [5, 6, 7, 8, 9, 10] and not counted[1].any()


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"steps": 1.5}, {"healthy": 0}, {"timestep": 1001}, {"variation": -1}])
def test_what_it_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LowRank(**wrong)
