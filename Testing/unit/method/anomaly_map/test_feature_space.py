"""Features of the scan and of its reconstruction are compared layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from restoring import Told
from tiny_model import tiny_method
from torch.nn import functional

from conddiffusion_uad.method.anomaly_map.feature_space import FeatureSpace
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion


@pytest.fixture(scope="module")
def model() -> ConditionedDiffusion:
    return Told.of(tiny_method())


def scan(lesion: float = 0.0) -> Restored:
    """A brain of more slices than are looked at together, and its reconstruction, which lacks the lesion."""
    healthy = np.random.default_rng(0).uniform(0.3, 0.6, (20, 64, 64)).astype(np.float32)
    mask = np.ones(healthy.shape, bool)
    mask[0] = False
    volume = healthy.copy()
    volume[10, 40:56, 40:56] += lesion
    return Restored(Volume(np.where(mask, volume, 0).astype(np.float32), mask), "T2", (healthy * mask)[None], 16)


def test_the_map_of_a_perfect_reconstruction_is_nothing(model: ConditionedDiffusion) -> None:
    assert np.abs(FeatureSpace()(scan(), model)).max() < 1e-5


def test_it_is_largest_where_they_differ(model: ConditionedDiffusion) -> None:
    found = FeatureSpace((1,), size=0.5)(scan(0.4), model)
    assert found.min() >= 0 and not found[0].any() and found[10, 32:, 32:].max() == found.max()
    beyond = found[10, :24, :24]  # further away than the 13 pixels that this layer sees around its own
    assert beyond.max() < 1e-3 * found.max() and found[15].max() < 1e-3 * found.max()


def test_a_layer_contributes_one_minus_the_cosine(model: ConditionedDiffusion) -> None:
    restored = scan(0.4)
    part = FeatureSpace((2,), size=0.1)  # narrower than a voxel: hardly smoothed
    first, second = (part.features(values[10:11], model)[0] for values in (restored.volume, restored.mean))
    product = (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))
    expected = functional.interpolate((1 - product)[:, None], size=(64, 64), mode="bilinear")[0, 0]
    np.testing.assert_allclose(part(restored, model)[10], expected.detach().clamp(min=0).numpy(), atol=1e-4)
    assert all(not layer._forward_hooks for layer in model.encoder.modules())


def test_without_an_encoder_there_are_no_features() -> None:
    with pytest.raises(ValueError, match="needs an image encoder"):
        tiny_method(condition=Unconditional(), anomaly_map={"T2": FeatureSpace()})


@pytest.mark.parametrize("wrong", [{"layers": ()}, {"layers": (0,)}, {"layers": (5,)}, {"size": 0}])
def test_what_it_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"layers|size"):
        FeatureSpace(**wrong)


def test_gradients_are_not_kept(model: ConditionedDiffusion) -> None:
    assert not FeatureSpace((1,)).features(scan().volume[:1], model)[0].requires_grad
    assert torch.is_grad_enabled()
