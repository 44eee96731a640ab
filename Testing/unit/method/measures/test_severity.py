"""Severity is the signed distance from a plane, and a healthier condition lies on the other side of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from restoring import Told
from tiny_model import tiny_method, trained

from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.method.measures.severity import Plane, Severity
from conddiffusion_uad.method.restore.healthier import Healthier
from conddiffusion_uad.method.restore.one_step import OneStep
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices

PART = Severity(features=4)
MEASURES = (PART,)


@pytest.fixture
def model() -> ConditionedDiffusion:
    model = trained(Told.of(tiny_method(measures=MEASURES)))
    plane = model.networks["severity"]
    assert isinstance(plane, Plane)
    plane.normal.copy_(torch.tensor([0.6, 0.0, -0.8, 0.0]))
    plane.offset.fill_(0.25)
    plane.healthy.copy_(torch.linspace(-1, 1, 101))
    return model


def scan(slices: int = 20) -> Restored:
    volume = np.random.default_rng(0).uniform(0.2, 0.9, (slices, 16, 16)).astype(np.float32)
    mask = np.ones(volume.shape, bool)
    mask[0] = False
    return Restored(Volume(volume * mask, mask), "T2", (volume * mask)[None], 16)


def test_it_is_the_distance_of_the_mean_features_and_its_rank(model: ConditionedDiffusion) -> None:
    restored = scan()
    with torch.no_grad():
        features = model.encoder(Slices.of(torch.from_numpy(restored.volume[1:, None]))).mean(dim=0)
    expected = 0.6 * features[0].item() - 0.8 * features[2].item() - 0.25
    found = PART(restored, model)
    assert found["severity"] == pytest.approx(expected, abs=1e-5)
    assert found["severity_healthy"] == pytest.approx(np.clip((expected + 1) / 2, 0, 1), abs=1e-5)


def test_a_scan_without_brain_has_none(model: ConditionedDiffusion) -> None:
    empty = Volume(np.zeros((4, 16, 16), np.float32), np.zeros((4, 16, 16), bool))
    assert PART(Restored(empty, "T2", np.zeros((1, 4, 16, 16), np.float32), 16), model)["severity"] == 0


def test_a_healthier_condition_is_less_severe_by_the_distance(model: ConditionedDiffusion) -> None:
    told: list[torch.Tensor] = []
    model.denoiser.register_forward_pre_hook(lambda _, given: told.append(given[2]))
    slices, seeds = Slices.of(torch.from_numpy(scan().volume[1:4, None])), Seeds(0, np.arange(3))
    with torch.no_grad():
        healthier = Healthier((300,), distance=2.0)(model, slices, seeds)
        usual = OneStep((300,))(model, slices, seeds)
        same = Healthier((300,), distance=0.0)(model, slices, seeds)
    plane = model.networks["severity"]
    assert torch.allclose(plane(told[0]), plane(told[1]) - 2, atol=1e-5)
    assert torch.equal(same, usual) and not torch.allclose(healthier, usual, atol=1e-4)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="of the 0 features of the condition"):
        tiny_method(condition=Unconditional(), measures=MEASURES)
    with pytest.raises(ValueError, match="measures does not list it"):
        tiny_method(restore=Healthier((300,)))
    assert list(tiny_method(restore=Healthier((300,)), measures=MEASURES).learned()) == ["severity"]
    with pytest.raises(ValueError, match="distance"):
        Healthier((300,), distance=float("inf"))
