import numpy as np
import pytest

from conddiffusion_uad.method.anomaly_map.residual import TISSUES, Residual
from conddiffusion_uad.method.intensity import smoothed


def test_sign_of_the_residual() -> None:
    mask = np.ones((5, 9, 9), bool)
    bright, dark = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, np.float32)
    bright[2, 2, 2], dark[2, 6, 6] = 1, 1
    rules = {sign: Residual(sign, "none") for sign in ("hyperintense", "hypointense", "absolute")}
    found = {sign: np.argwhere(rule.between(bright, dark, mask)).tolist() for sign, rule in rules.items()}
    assert found == {"hyperintense": [[2, 2, 2]], "hypointense": [[2, 6, 6]], "absolute": [[2, 2, 2], [2, 6, 6]]}


def test_gaussian_keeps_a_small_lesion_that_the_median_erases_and_the_level_at_the_rim() -> None:
    mask = np.zeros((12, 20, 20), bool)
    mask[2:10, 3:17, 3:17] = True
    lesion = np.zeros(mask.shape, np.float32)
    lesion[5:7, 9:11, 9:11] = 1
    empty = np.zeros(mask.shape, np.float32)
    assert Residual("hyperintense", "gaussian", 1.0).between(lesion, empty, mask).max() > 0.25
    assert Residual("hyperintense", "median", 5).between(lesion, empty, mask).max() == 0
    flat = Residual("absolute", "gaussian", 1.0).between(mask.astype(np.float32), empty, mask)
    assert flat[mask] == pytest.approx(1.0, abs=1e-5)
    assert not flat[~mask].any()


def test_residuals_count_where_the_expected_tissue_is() -> None:
    mask = np.ones((4, 8, 8), bool)
    healthy = np.broadcast_to(np.linspace(0.2, 0.8, 8, dtype=np.float32), mask.shape)
    scan = healthy + 0.1
    rules = {tissue: Residual("hyperintense", "none", tissue=tissue) for tissue in TISSUES}
    found = {tissue: rule.between(scan, healthy, mask) for tissue, rule in rules.items()}
    assert found["any"] == pytest.approx(0.1, abs=1e-6)
    assert np.all(np.diff(found["bright"][0, 0]) > 0)
    assert found["bright"] + found["dark"] == pytest.approx(found["any"], abs=1e-6)


@pytest.mark.parametrize("wrong", [("upwards",), ("hyperintense", "boxes"), ("hyperintense", "gaussian", 1.0, "soft")])
def test_unknown_rules_are_refused(wrong: tuple) -> None:
    with pytest.raises(ValueError, match="is one of"):
        Residual(*wrong)


@pytest.mark.parametrize("size", [0.4, 2, 9, 0, -1, float("nan")])
def test_a_median_has_an_odd_side(size: float) -> None:
    with pytest.raises(ValueError, match="odd whole number"):
        Residual("absolute", "median", size)


def test_the_median_is_that_of_the_neighbors_inside_the_brain() -> None:
    generator = np.random.default_rng(0)
    values = generator.uniform(1, 2, (7, 9, 8)).astype(np.float32)
    mask = generator.uniform(size=values.shape) < 0.6
    found = smoothed(values, mask, "median", 3)
    for z, y, x in np.argwhere(mask):
        cube = tuple(slice(max(i - 1, 0), i + 2) for i in (z, y, x))
        assert found[z, y, x] == pytest.approx(np.median(values[cube][mask[cube]]))
    assert not found[~mask].any()


def test_a_small_bright_region_at_the_rim_survives_the_median() -> None:
    mask = np.zeros((10, 10, 10), bool)
    mask[:4, :4, :4] = True
    difference = np.where(mask, 1.0, 0.0).astype(np.float32)
    found = Residual("hyperintense", "median", 5).between(difference, np.zeros_like(difference), mask)
    assert (found[mask] == 1).all()
