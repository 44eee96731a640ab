from itertools import pairwise

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.evaluation.shifts.corruption import CORRUPTIONS, SEVERITIES, corrupt
from conddiffusion_uad.evaluation.shifts.geometry import GEOMETRIC_CHANGES
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import stripped

SHAPE = (24, 32, 28)  # z, y, x
GRID = Grid(SHAPE[::-1], (2.0, 2.0, 2.5), (10.0, -20.0, 5.0))  # thick slices


@pytest.fixture(scope="module")
def brain() -> sitk.Image:
    """An ellipsoid, off the center."""
    z, y, x = np.indices(SHAPE)
    inside = ((z - 11) / 8) ** 2 + ((y - 16) / 12) ** 2 + ((x - 14) / 9) ** 2 < 1
    return GRID.with_array(inside.astype(np.uint8))


@pytest.fixture(scope="module")
def scan(brain: sitk.Image) -> sitk.Image:
    """Tissue with some structure in the ellipsoid, 0 around it."""
    texture = sitk.GetArrayFromImage(sitk.DiscreteGaussian(GRID.with_array(_noise()), 9.0))
    inside = sitk.GetArrayFromImage(brain) > 0
    return GRID.with_array((inside * np.maximum(500 + 1500 * texture, 50)).astype(np.float32))


def _noise() -> np.ndarray:
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def _values(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small ellipsoid counts as a brain without its skull."""
    monkeypatch.setattr("conddiffusion_uad.evaluation.shifts.corruption.is_stripped", lambda _: True)


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything counts as a head."""
    monkeypatch.setattr("conddiffusion_uad.evaluation.shifts.corruption.is_stripped", lambda _: False)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_keeps_grid_and_background_and_is_repeatable(
    name: str, scan: sitk.Image, brain: sitk.Image, bare: None
) -> None:
    changed = corrupt(scan, brain, name, 5)
    assert Grid.of(changed) == GRID
    assert changed.GetPixelID() == sitk.sitkFloat32
    inside = _values(stripped.foreground(scan)) > 0
    assert np.array_equal(_values(changed)[~inside], _values(scan)[~inside])
    assert np.array_equal(_values(changed), _values(corrupt(scan, brain, name, 5)))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_grows_with_its_severity(name: str, scan: sitk.Image, brain: sitk.Image, bare: None) -> None:
    inside, before = _values(brain) > 0, _values(scan)
    distances = [np.abs(_values(corrupt(scan, brain, name, s)) - before)[inside].mean() for s in SEVERITIES]
    if name == "contrast":  # in both directions, each stronger than the one before
        distances = distances[::2] if distances[0] < distances[2] else []
    if name == "slice thickness":
        assert distances.pop(0) == 0  # the slices are 2.5 mm thick
    assert distances
    assert distances[0] > 0
    assert all(low < high for low, high in pairwise(distances))


@pytest.mark.parametrize("name", ["ghosting", "motion", "spike", "noise"])
def test_another_seed_gives_another_pattern(name: str, scan: sitk.Image, brain: sitk.Image, bare: None) -> None:
    first, second = (_values(corrupt(scan, brain, name, 3, seed)) for seed in (0, 1))
    assert not np.allclose(first, second, atol=1)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_head_has_the_same_artifact_however_it_is_stored(
    name: str, scan: sitk.Image, brain: sitk.Image, bare: None
) -> None:
    expected = corrupt(scan, brain, name, 4)
    turned = corrupt(
        *(sitk.Flip(sitk.PermuteAxes(image, [2, 0, 1]), [True, False, True]) for image in (scan, brain)), name, 4
    )
    back = sitk.PermuteAxes(sitk.Flip(turned, [True, False, True]), [1, 2, 0])
    assert np.allclose(_values(back), _values(expected), atol=1e-3 * _values(scan).max())


def test_contrast_is_a_power_between_two_percentiles_of_the_brain(
    scan: sitk.Image, brain: sitk.Image, bare: None
) -> None:
    inside = _values(brain) > 0
    before, after = (_values(image)[inside] for image in (scan, corrupt(scan, brain, "contrast", 4)))
    low, high = np.percentile(before, [1, 99])
    scaled = (before - low) / (high - low)
    assert CORRUPTIONS["contrast"].levels[3] == 2.0
    expected = np.where(scaled > 0, scaled**2, scaled)
    assert np.allclose((after - low) / (high - low), expected, atol=1e-4)


def test_ghosts_are_copies_shifted_along_the_phase_axis(head: None) -> None:
    """A line across y has copies of the ghost's strength, a third to a fifth of the field of view away."""
    values = np.zeros(SHAPE, np.float32)
    values[:, 16] = 100.0
    everywhere = GRID.with_array(np.ones(SHAPE, np.uint8))
    after = _values(corrupt(GRID.with_array(values), everywhere, "ghosting", 5)) / 100
    assert np.allclose(after, after[:1, :, :1], atol=1e-4)
    profile = after[0, :, 0]
    strength = CORRUPTIONS["ghosting"].levels[4]
    assert profile[16] == pytest.approx(1, abs=0.05)
    assert np.sum(profile**2) == pytest.approx(1 + 2 * strength**2, rel=0.05)
    away = np.abs(np.flatnonzero(profile > 0.3 * strength) - 16)
    assert set(away[away > 2]) <= set(range(5, 13))


def test_noise_is_rician(brain: sitk.Image, head: None) -> None:
    """Sigma 0.25 of a signal of 1: its square has the mean 1 + 2 sigma^2, and that of no signal has 2 sigma^2."""
    values = np.zeros(SHAPE, np.float32)
    values[:, 16:] = 100.0
    everywhere = GRID.with_array(np.ones(SHAPE, np.uint8))
    after = _values(corrupt(GRID.with_array(values), everywhere, "noise", 5)) / 100
    sigma = CORRUPTIONS["noise"].levels[4]
    assert np.mean(after[:, 16:] ** 2) == pytest.approx(1 + 2 * sigma**2, rel=0.02)
    assert np.mean(after[:, :16] ** 2) == pytest.approx(2 * sigma**2, rel=0.02)


def test_bias_field_has_its_ratio(brain: sitk.Image, bare: None) -> None:
    inside = _values(brain) > 0
    even = (np.random.default_rng(0).uniform(99, 101, SHAPE) * inside).astype(np.float32)  # no value is a background
    values = _values(corrupt(GRID.with_array(even), brain, "bias field", 5))[inside] / even[inside]
    low, high = np.percentile(values, [1, 99])
    assert high / low == pytest.approx(CORRUPTIONS["bias field"].levels[4], rel=0.02)


def test_thick_slices_average_along_z_only(brain: sitk.Image, head: None) -> None:
    """Slices of 5 mm from slices of 2.5 mm: pairs, interpolated between their centers."""
    values = np.repeat(np.arange(24, dtype=np.float32) % 2, 32 * 28).reshape(SHAPE)
    values[:, :, 14:] *= 2
    everywhere = GRID.with_array(np.ones(SHAPE, np.uint8))
    after = _values(corrupt(GRID.with_array(values), everywhere, "slice thickness", 4))
    assert np.allclose(after[:, :, :14], 0.5, atol=1e-6)
    assert np.allclose(after[:, :, 14:], 1.0, atol=1e-6)


def test_motion_leaves_the_head_in_its_place(scan: sitk.Image, brain: sitk.Image, bare: None) -> None:
    before, after = (_values(image) for image in (scan, corrupt(scan, brain, "motion", 3)))
    inside = _values(brain) > 0
    here = np.corrcoef(before[inside], after[inside])[0, 1]
    for axis in range(3):
        for step in (-1, 1):
            assert np.corrcoef(before[inside], np.roll(after, step, axis)[inside])[0, 1] < here


@pytest.mark.parametrize("name", GEOMETRIC_CHANGES)
def test_a_stored_scan_comes_back_to_its_place(name: str, scan: sitk.Image, brain: sitk.Image) -> None:
    smooth = sitk.DiscreteGaussian(scan, 16.0)  # so that sampling it twice changes little
    changed = GEOMETRIC_CHANGES[name](smooth, brain)
    assert (Grid.of(changed.scan) != GRID) or not np.array_equal(_values(changed.scan), _values(smooth))
    back = _values(changed.back(changed.scan, GRID))
    inside = _values(brain) > 0
    assert np.abs(back - _values(smooth))[inside].max() < 0.05 * _values(smooth).max()


def test_thick_slices_are_not_interpolated(scan: sitk.Image, brain: sitk.Image) -> None:
    changed = GEOMETRIC_CHANGES["resampled"](scan, brain).scan
    assert changed.GetSpacing() == pytest.approx((2.6, 2.6, 2.5))
    assert changed.GetSize()[2] == SHAPE[0]


def test_a_turned_header_turns_the_head(scan: sitk.Image, brain: sitk.Image) -> None:
    changed = GEOMETRIC_CHANGES["rotated header"](scan, brain)
    assert np.array_equal(_values(changed.scan), _values(scan))
    point = scan.TransformIndexToPhysicalPoint((3, 4, 5))
    assert changed.to_scan.TransformPoint(point) == pytest.approx(changed.scan.TransformIndexToPhysicalPoint((3, 4, 5)))
    assert np.linalg.norm(np.subtract(changed.to_scan.TransformPoint(point), point)) > 2


def test_added_air_is_background(brain: sitk.Image) -> None:
    scan = GRID.with_array(np.full(SHAPE, -7, np.float32) + 100 * _values(brain))
    padded = _values(GEOMETRIC_CHANGES["air added"](scan, brain).scan)
    assert padded.shape > SHAPE
    assert padded[0, 0, 0] == padded[-1, -1, -1] == -7
