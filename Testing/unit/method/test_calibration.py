import math

import numpy as np
import pytest

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.evaluation.metrics.score_counts import count
from conddiffusion_uad.method.calibration import HIGHEST, Calibration, threshold


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("healthy_flagged", [0.1, 0.01, 0.001])
def test_threshold_flags_the_stated_fraction_of_healthy_tissue(
    rng: np.random.Generator, healthy_flagged: float
) -> None:
    calibration = Calibration.measure([[rng.gamma(2.0, 0.05, 200_000) for _ in range(4)]])
    unseen = rng.gamma(2.0, 0.05, (40, 100, 100))
    scores = calibration.score(unseen, np.ones(unseen.shape, bool))
    assert (scores > threshold(healthy_flagged)).mean() == pytest.approx(healthy_flagged, rel=0.08)


def test_every_scan_of_a_group_weighs_the_same_however_large(rng: np.random.Generator) -> None:
    small, large = rng.uniform(1, 2, 1_000), rng.uniform(0, 1, 100_000)
    calibration = Calibration.measure([[small, large]])
    assert np.interp(-math.log10(0.5), calibration.scores, calibration.residuals) == pytest.approx(1.0, abs=0.01)


def test_no_group_of_healthy_scans_is_flagged_more_than_stated(rng: np.random.Generator) -> None:
    even, tailed = rng.uniform(0, 1, 100_000), 0.3 * rng.exponential(1, 100_000)
    calibration = Calibration.measure([[even], [tailed, tailed]])
    for fraction in (0.5, 0.01, 0.001):
        limit = np.interp(-math.log10(fraction), calibration.scores, calibration.residuals)
        flagged = [(even > limit).mean(), (tailed > limit).mean()]
        assert max(flagged) == pytest.approx(fraction, rel=0.1)


def test_score_keeps_the_order_beyond_the_calibrated_range(rng: np.random.Generator) -> None:
    calibration = Calibration.measure([[rng.exponential(0.1, 100_000)]])
    values = np.array([0.0, 0.05, 0.5, 1.0, 2.0, 4.0])
    scores = calibration.score(values, np.ones(6, bool))
    assert scores[0] == 0
    assert (np.diff(scores) > 0).all()
    # The tail of an exponential distribution is a straight line in -log10(p): p = exp(-r / 0.1).
    assert scores[3] == pytest.approx(1.0 / 0.1 / math.log(10), rel=0.25)


def test_a_small_calibration_ends_where_its_voxels_do(rng: np.random.Generator) -> None:
    calibration = Calibration.measure([[rng.exponential(0.1, 500)]])
    assert calibration.scores[-1] <= -math.log10(10 / 500)
    assert calibration.score(np.array([0.3]), np.ones(1, bool))[0] < 4
    with pytest.raises(ValueError, match="too few"):
        Calibration.measure([[np.ones(3)]])


def test_no_residual_is_no_score_even_when_most_healthy_voxels_have_none(rng: np.random.Generator) -> None:
    calibration = Calibration.measure([[np.maximum(rng.normal(-0.1, 0.1, 100_000), 0)]])
    scores = calibration.score(np.array([0.0, 0.05]), np.ones(2, bool))
    assert scores[0] == 0
    assert scores[1] > 0


def test_score_is_zero_outside_the_brain(rng: np.random.Generator) -> None:
    calibration = Calibration.measure([[rng.exponential(0.1, 1000)]])
    assert calibration.score(np.ones(3), np.array([True, False, True]))[1] == 0


def test_calibration_survives_json() -> None:
    calibration = Calibration.measure([[np.linspace(0, 1, 1000)]])
    assert Calibration.from_json(calibration.to_json()) == calibration
    with pytest.raises(ValueError, match="increase"):
        Calibration.from_json({"scores": [1, 2], "residuals": [2, 1], "scans": 1})


@pytest.mark.parametrize("healthy", [np.zeros(1000), np.full(1000, 0.1), np.repeat([0.0, 0.1], 500)])
def test_healthy_values_that_do_not_vary_give_scores_that_can_be_counted(healthy: np.ndarray) -> None:
    calibration = Calibration.measure([[healthy]])
    scores = calibration.score(np.array([0.0, 0.05, 0.1, 0.9, 1e9]), np.ones(5, bool))
    assert np.isfinite(scores).all() and (np.diff(scores) >= 0).all() and scores[0] == 0
    assert scores.max() <= HIGHEST
    count(scores, np.zeros(5, bool))  # raises when they are too large for it


@pytest.mark.parametrize(
    ("scores", "residuals"),
    [([1, 2], [-2, -1]), ([1, 2], [-0.1, 0.2]), ([-1, 2], [0.1, 0.2]), ([1, 2], [0.1, float("nan")])],
)
def test_negative_values_and_no_numbers_are_no_calibration(scores: list[float], residuals: list[float]) -> None:
    with pytest.raises(ValueError):
        Calibration.from_json({"scores": scores, "residuals": residuals, "scans": 1})


def test_the_usual_calibration_is_not_flattened() -> None:
    for calibration in bundles.load("residual").calibration.values():
        points, scores = np.array(calibration.residuals), np.array(calibration.scores)
        last = np.searchsorted(scores, scores[-1] - 1)
        slope = (scores[-1] - scores[last]) / (points[-1] - points[last])
        found = calibration.score(np.array([1.5 * points[-1]]), np.ones(1, bool))
        assert found[0] == pytest.approx(scores[-1] + 0.5 * points[-1] * slope, rel=1e-6)
