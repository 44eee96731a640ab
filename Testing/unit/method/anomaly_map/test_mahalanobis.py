"""The Mahalanobis map is the distance that its formula says, without the matrix that the formula has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_model import tiny_method

from conddiffusion_uad.detection.pipeline import require_samples
from conddiffusion_uad.method.anomaly_map.mahalanobis import FORMS, Mahalanobis, dissimilarity
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.restore.one_step import OneStep
from conddiffusion_uad.method.restore.repeated import Repeated
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.uncertainty import uncertainty
from conddiffusion_uad.protocol.failures import BadInput

RIDGE = 0.01


def drawn(samples: int, shape: tuple[int, int, int] = (3, 12, 14)) -> Restored:
    """Reconstructions that vary, more in places than in others, and a scan beside them."""
    rng = np.random.default_rng(0)
    mask = np.zeros(shape, bool)
    mask[:2, 2:-2, 2:-3] = True  # the last slice is empty
    spread = rng.uniform(0.01, 0.3, shape)
    made = 0.5 + spread * rng.normal(size=(samples, *shape))
    made += 0.1 * rng.normal(size=(samples, 1, 1, 1))  # and together
    volume = np.where(mask, rng.uniform(0.1, 0.9, shape), 0).astype(np.float32)
    return Restored(Volume(volume, mask), "T2", (made * mask).astype(np.float32), 16)


def test_the_woodbury_form_is_the_plain_inverse() -> None:
    restored = drawn(5)
    found = Mahalanobis(size=0, structure=False, ridge=RIDGE)(restored, None)
    for z in (0, 1):
        inside = restored.mask[z]
        samples = restored.samples[:, z][:, inside].astype(np.float64)
        covariance = np.cov(samples, rowvar=False) + RIDGE * np.eye(inside.sum())
        difference = restored.volume[z][inside] - samples.mean(axis=0)
        shares = (np.linalg.inv(covariance) @ difference) * difference
        np.testing.assert_allclose(found[z][inside], np.sqrt(np.maximum(shares, 0)), rtol=1e-4, atol=1e-4)
        total = difference @ np.linalg.solve(covariance, difference)
        assert shares.sum() == pytest.approx(total)  # the squared distance
    assert not found[~restored.mask].any()


def test_the_diagonal_form_divides_by_the_variance_of_each_pixel() -> None:
    restored = drawn(4)
    found = Mahalanobis("diagonal", size=0, structure=False, ridge=RIDGE)(restored, None)
    variance = restored.samples.var(axis=0, ddof=1, dtype=np.float64)
    expected = np.abs(restored.volume - restored.samples.mean(axis=0)) / np.sqrt(variance + RIDGE)
    np.testing.assert_allclose(found[restored.mask], expected[restored.mask], rtol=1e-4)


def test_where_reconstructions_agree_a_difference_weighs_more() -> None:
    restored = drawn(10)
    steady = np.s_[:, 0, 3, 3:6]
    restored.samples[steady] = 0.5
    restored.volume[0, 3, 3:6] = 0.7
    found = Mahalanobis("diagonal", size=0, structure=False, ridge=1e-4)(restored, None)
    assert found[0, 3, 3] == pytest.approx(0.2 / np.sqrt(1e-4), rel=1e-3)
    assert found[0, 3, 3] > 5 * np.median(found[restored.mask])


def test_the_distance_is_multiplied_by_what_the_structures_differ() -> None:
    restored = drawn(3)
    plain, whole = (Mahalanobis(size=1.0, structure=structure)(restored, None) for structure in (False, True))
    differ = dissimilarity(restored.volume, restored.mean, restored.mask)
    np.testing.assert_allclose(whole, plain * differ)
    same = dissimilarity(restored.volume, restored.volume, restored.mask)
    assert np.abs(same).max() < 1e-6 and differ.max() <= 2 and differ[restored.mask].min() >= 0


def test_one_reconstruction_does_not_tell_how_they_vary() -> None:
    maps = {"T2": Mahalanobis()}
    with pytest.raises(ValueError, match="two reconstructions at least"):
        tiny_method(restore=OneStep((500,)), anomaly_map=maps)
    method = tiny_method(restore=OneStep((250, 500)), anomaly_map=maps)
    with pytest.raises(BadInput, match=r"--levels cannot be 100: a Mahalanobis distance needs two"):
        method.at([100])
    assert tiny_method(restore=Repeated(), anomaly_map=maps).restore.samples == 10


@pytest.mark.parametrize("form", FORMS)
def test_an_uncertainty_takes_one_reconstruction_more_than_the_map(form: str) -> None:
    """Each of them is left out once, and the map has to be made of the others."""
    bundle: Any = SimpleNamespace(
        name="varied", method=tiny_method(restore=OneStep((250, 500)), anomaly_map={"T2": Mahalanobis(form)})
    )
    with pytest.raises(BadInput, match=r"varied makes 2 reconstructions of a scan; .* takes 3"):
        require_samples(bundle, "T2", None)
    require_samples(bundle, "T2", [100, 250, 500])
    error = uncertainty(lambda restored: Mahalanobis(form)(restored, None), drawn(3))
    assert np.isfinite(error).all() and error.any()


@pytest.mark.parametrize("wrong", [{"form": "round"}, {"ridge": 0}, {"size": -1}, {"structure": 1}])
def test_what_it_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"form|ridge|size"):
        Mahalanobis(**wrong)
