"""The background is found whatever its value, and the same scan stored in other numbers looks the same above it."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from conddiffusion_uad.preprocessing.background import MOST, level
from conddiffusion_uad.preprocessing.stripped import flatness, foreground, is_stripped

SIZE = (40, 60, 56)  # z, y, x
SPACING = (3.0, 3.0, 3.0)
Z, Y, X = (axis / n - 0.5 for axis, n in zip(np.indices(SIZE), SIZE, strict=True))
BRAIN = (X / 0.33) ** 2 + (Y / 0.38) ** 2 + (Z / 0.42) ** 2 < 1
HEAD = (X / 0.42) ** 2 + (Y / 0.47) ** 2 + (Z / 0.6) ** 2 < 1
RANDOM = np.random.default_rng(3)
TISSUE = 500 + 200 * np.sin(9 * X) * np.cos(7 * Y) + 100 * Z + RANDOM.normal(0, 20, SIZE)


def bare() -> np.ndarray:
    return np.where(BRAIN, np.maximum(TISSUE, 1), 0)


def head(noise: float = 8.0) -> np.ndarray:
    """Brain, dark bone around it, bright scalp, and air with the noise of a magnitude image."""
    values = np.where(BRAIN, TISSUE, np.where(HEAD, 60, 0)).astype(float)
    scalp = HEAD & ((X / 0.38) ** 2 + (Y / 0.43) ** 2 + (Z / 0.55) ** 2 > 1)
    values[scalp] = 800
    return np.abs(values + np.random.default_rng(4).normal(0, noise, SIZE))


def image(values: np.ndarray) -> sitk.Image:
    made = sitk.GetImageFromArray(values.astype(np.float32))
    made.SetSpacing(SPACING)
    return made


def above(values: np.ndarray) -> np.ndarray:
    return sitk.GetArrayFromImage(level(image(values)).image)


def test_a_scan_as_it_comes_from_the_scanner_stays_as_it_is_up_to_a_power_of_two() -> None:
    for values in (bare(), np.where(HEAD, head(), 0)):
        leveled = level(image(values))
        assert leveled.zero == 0 and np.log2(leveled.scale) % 1 == 0
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(leveled.image), values.astype(np.float32) * np.float32(leveled.scale)
        )


def test_leveling_can_be_undone() -> None:
    for values in (bare() - 300, head() * 7 + 1000):
        leveled = level(image(values))
        np.testing.assert_allclose(leveled.undo(sitk.GetArrayFromImage(leveled.image)), values, atol=0.01)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    scale=st.floats(1e-4, 1e4),
    shift=st.floats(-20, 20),
    stripped=st.booleans(),
    number=st.sampled_from([None, np.int16, np.int32, np.uint16]),
)
def test_any_increasing_linear_change_leaves_the_scan_the_same(
    scale: float, shift: float, stripped: bool, number: type | None
) -> None:
    values = bare() if stripped else head()
    changed = (values + shift * 100) * scale
    if number is not None:  # as whole numbers that fill the type
        low, high = np.iinfo(number).min // 2, np.iinfo(number).max // 2
        changed = np.rint((values - values.min()) / np.ptp(values) * (high - low) + low).astype(number)
    one, other = above(values), above(changed)
    factor = np.median(one[BRAIN]) / np.median(other[BRAIN])
    np.testing.assert_allclose(other * factor, one, atol=0.002 * MOST)
    assert is_stripped(image(changed)) == stripped
    assert MOST / 2 <= np.percentile(other, 99.5) <= 2.1 * MOST


BACKGROUNDS = {
    "zero": 0.0,
    "one value below all": -5.0,
    "one value within the brain's": 480.0,
    "one value above all": 3000.0,
    "faint noise": np.abs(np.random.default_rng(5).normal(0, 1.5, SIZE)),
    "noise of both signs": np.random.default_rng(6).normal(0, 1.5, SIZE),
    "ringing": np.where(np.random.default_rng(7).random(SIZE) < 0.1, np.random.default_rng(8).normal(0, 1, SIZE), 0),
}


@pytest.mark.parametrize("name", BACKGROUNDS)
@pytest.mark.parametrize("change", ["as it is", "z-scored", "minus 300"])
def test_a_bare_brain_is_recognized_and_the_same_on_any_background(name: str, change: str) -> None:
    values = np.where(BRAIN, bare(), BACKGROUNDS[name])
    if change == "z-scored":
        values = (values - bare()[BRAIN].mean()) / bare()[BRAIN].std()
    if change == "minus 300":
        values = values - 300
    assert is_stripped(image(values))
    found = sitk.GetArrayFromImage(foreground(image(values))) > 0
    assert 2 * (found & BRAIN).sum() / (found.sum() + BRAIN.sum()) > 0.98
    leveled = above(values)
    normal = above(bare())
    slope, intercept = np.polyfit(normal[BRAIN], leveled[BRAIN], 1)
    assert (leveled[BRAIN] > 0).mean() > 0.98
    if name != "one value within the brain's" and name != "one value above all":
        assert abs(intercept / slope) < 0.03 * MOST, "zero is where it was"


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-20, 20),
    place=st.floats(0.1, 0.9),
    whole=st.booleans(),
    hole=st.sampled_from([0.0, 0.05, 0.1]),
)
def test_a_background_within_the_tissue_changes_nothing_of_a_brain_that_was_masked_at_zero(
    scale: float, shift: float, place: float, whole: bool, hole: float
) -> None:
    """Only the brain was changed; what was 0, around and within it, was set to a value within those of tissue."""
    masked = BRAIN & (hole**2 <= X**2 + (Y - 0.1) ** 2 + Z**2)
    signal = np.where(np.random.default_rng(9).random(SIZE) < 0.002, 2, np.maximum(TISSUE - 100, 2))  # 2: of fluid
    values = np.where(masked, np.rint(signal) if whole else signal, 0)
    background = np.floor(np.quantile(values[masked], place)) + 0.32
    one, other = above(values), above((np.where(masked, values, background) + shift * 100) * scale)
    factor = np.median(one[masked]) / np.median(other[masked])
    np.testing.assert_allclose(other * factor, one, atol=0.01 * MOST)


def test_whole_numbers_of_tissue_that_the_background_has_too_stay() -> None:
    values = np.where(BRAIN, np.rint(np.maximum(TISSUE, 1)), 480)
    within = (X / 0.28) ** 2 + (Y / 0.33) ** 2 + (Z / 0.37) ** 2 < 1
    assert (above(values)[within & (values == 480)] > 0.05 * MOST).all()


@pytest.mark.parametrize("radius", [0.47, 0.52, 0.6])
@pytest.mark.parametrize("padding", [-32768.0, -2000.0, 32767.0, 0.0])
def test_padding_outside_of_a_round_field_of_view_is_air(radius: float, padding: float) -> None:
    whole = head()
    values = np.where(radius**2 > X**2 + Y**2, whole, padding)
    if radius < 0.5 and padding == -2000:
        pytest.skip("nothing tells this padding from the background of a scan that was shifted")
    seen = above(values)
    factor = np.median(above(whole)[BRAIN]) / np.median(seen[BRAIN])
    np.testing.assert_allclose(seen[BRAIN] * factor, above(whole)[BRAIN], atol=0.03 * MOST)
    assert not is_stripped(image(values))
    assert np.abs(seen[values == padding]).max() < 0.1 * MOST


def test_a_background_that_is_no_value_of_its_own_is_flat_within_its_noise() -> None:
    assert flatness(level(image(np.where(BRAIN, bare(), BACKGROUNDS["faint noise"])))) > 0.95
    assert flatness(level(image(head(60.0)))) < 0.9
