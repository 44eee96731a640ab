import math

import numpy as np
import pytest

from conddiffusion_uad.bundle.calibration import Calibration, anomaly_score, threshold
from conddiffusion_uad.method.anomaly_map.residual import TISSUES, ResidualRule, residual


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("healthy_flagged", [0.1, 0.01, 0.001])
def test_threshold_flags_the_stated_fraction_of_healthy_tissue(
    rng: np.random.Generator, healthy_flagged: float
) -> None:
    calibration = Calibration.measure([[rng.gamma(2.0, 0.05, 200_000) for _ in range(4)]])
    unseen = rng.gamma(2.0, 0.05, (40, 100, 100))
    scores = anomaly_score(unseen, np.ones(unseen.shape, bool), calibration)
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
    scores = anomaly_score(values, np.ones(6, bool), calibration)
    assert scores[0] == 0
    assert (np.diff(scores) > 0).all()
    # The tail of an exponential distribution is a straight line in -log10(p): p = exp(-r / 0.1).
    assert scores[3] == pytest.approx(1.0 / 0.1 / math.log(10), rel=0.25)


def test_a_small_calibration_ends_where_its_voxels_do(rng: np.random.Generator) -> None:
    calibration = Calibration.measure([[rng.exponential(0.1, 500)]])
    assert calibration.scores[-1] <= -math.log10(10 / 500)
    assert anomaly_score(np.array([0.3]), np.ones(1, bool), calibration)[0] < 4
    with pytest.raises(ValueError, match="too few"):
        Calibration.measure([[np.ones(3)]])


def test_no_residual_is_no_score_even_when_most_healthy_voxels_have_none(rng: np.random.Generator) -> None:
    calibration = Calibration.measure([[np.maximum(rng.normal(-0.1, 0.1, 100_000), 0)]])
    scores = anomaly_score(np.array([0.0, 0.05]), np.ones(2, bool), calibration)
    assert scores[0] == 0
    assert scores[1] > 0


def test_score_is_zero_outside_the_brain(rng: np.random.Generator) -> None:
    calibration = Calibration.measure([[rng.exponential(0.1, 1000)]])
    assert anomaly_score(np.ones(3), np.array([True, False, True]), calibration)[1] == 0


def test_calibration_survives_json() -> None:
    calibration = Calibration.measure([[np.linspace(0, 1, 1000)]])
    assert Calibration.from_json(calibration.to_json()) == calibration
    with pytest.raises(ValueError, match="increase"):
        Calibration.from_json({"scores": [1, 2], "residuals": [2, 1], "scans": 1})


def test_sign_of_the_residual() -> None:
    mask = np.ones((5, 9, 9), bool)
    bright, dark = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, np.float32)
    bright[2, 2, 2], dark[2, 6, 6] = 1, 1
    rules = {sign: ResidualRule(sign, "none") for sign in ("positive", "negative", "absolute")}
    found = {sign: np.argwhere(residual(bright, dark, mask, rule)).tolist() for sign, rule in rules.items()}
    assert found == {"positive": [[2, 2, 2]], "negative": [[2, 6, 6]], "absolute": [[2, 2, 2], [2, 6, 6]]}


def test_gaussian_keeps_a_small_lesion_that_the_median_erases_and_the_level_at_the_rim() -> None:
    mask = np.zeros((12, 20, 20), bool)
    mask[2:10, 3:17, 3:17] = True
    lesion = np.zeros(mask.shape, np.float32)
    lesion[5:7, 9:11, 9:11] = 1
    empty = np.zeros(mask.shape, np.float32)
    assert residual(lesion, empty, mask, ResidualRule("positive", "gaussian", 1.0)).max() > 0.25
    assert residual(lesion, empty, mask, ResidualRule("positive", "median", 5)).max() == 0
    flat = residual(mask.astype(np.float32), empty, mask, ResidualRule("absolute", "gaussian", 1.0))
    assert flat[mask] == pytest.approx(1.0, abs=1e-5)
    assert not flat[~mask].any()


def test_residuals_count_where_the_expected_tissue_is() -> None:
    mask = np.ones((4, 8, 8), bool)
    healthy = np.broadcast_to(np.linspace(0.2, 0.8, 8, dtype=np.float32), mask.shape)
    scan = healthy + 0.1
    rules = {tissue: ResidualRule("positive", "none", tissue=tissue) for tissue in TISSUES}
    found = {tissue: residual(scan, healthy, mask, rule) for tissue, rule in rules.items()}
    assert found["any"] == pytest.approx(0.1, abs=1e-6)
    assert np.all(np.diff(found["bright"][0, 0]) > 0)
    assert found["bright"] + found["dark"] == pytest.approx(found["any"], abs=1e-6)


@pytest.mark.parametrize("wrong", [("upwards",), ("positive", "boxes"), ("positive", "gaussian", 1.0, "soft")])
def test_unknown_rules_are_refused(wrong: tuple) -> None:
    with pytest.raises(ValueError, match="no residual rule"):
        ResidualRule(*wrong)
