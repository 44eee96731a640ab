"""The steps run in order, and what may spoil the result is told."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas as atlases
from conddiffusion_uad.preprocessing import preparation, registration
from conddiffusion_uad.protocol.events import STAGES, Quiet
from conddiffusion_uad.protocol.failures import Cancelled

GRID = Grid((48, 56, 46), (4.0, 4.0, 4.0), (-94.0, -94.0, -76.0))
ATLAS = atlases.load()


class Listener(Quiet):
    """Remembers what it is told, and ends the run at a stage."""

    def __init__(self, last: str = "") -> None:
        self.stages: list[str] = []
        self.warnings: list[str] = []
        self._last = last

    def stage(self, name: str) -> None:
        self.stages.append(name)
        if name == self._last:
            raise Cancelled()

    def warning(self, code: str, message: str, hint: str = "") -> None:
        assert message.endswith(".")
        assert hint
        self.warnings.append(code)


def scan() -> sitk.Image:
    """The atlas at 4 mm, a little noisy."""
    small = sitk.BinShrink(ATLAS.t1, [2, 2, 2])
    values = sitk.GetArrayFromImage(small)
    values += np.random.default_rng(0).normal(0, 3, values.shape) * (values > 0)
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.CopyInformation(small)
    return image


def prepared(listener: Listener) -> preparation.Prepared:
    return preparation.prepare(scan(), grid=GRID, atlas=ATLAS, progress=listener)


def test_the_stages_run_in_order_and_a_good_scan_gives_no_warning() -> None:
    listener = Listener()
    result = prepared(listener)
    assert tuple(listener.stages) == preparation.STAGES
    assert [name for name in STAGES if name in preparation.STAGES] == list(preparation.STAGES)
    assert not listener.warnings
    assert result.volume.shape == result.mask.shape == result.grid.size[::-1]
    assert result.volume.dtype == np.float32
    assert (result.volume.min(), result.volume.max()) == (0.0, 1.0)
    assert not result.volume[~result.mask].any()
    assert result.skull_method == "already stripped"
    again = prepared(Listener())
    np.testing.assert_array_equal(again.volume, result.volume)


def test_the_same_scan_in_other_numbers_is_prepared_the_same() -> None:
    """Shifted below zero and stretched: to the model it looks as before, and the way back leads to its own units."""
    normal = prepared(Listener())
    other = preparation.prepare(scan() * 3.7 - 300.0, grid=GRID, atlas=ATLAS, progress=Quiet())
    assert other.skull_method == normal.skull_method
    np.testing.assert_array_equal(other.mask, normal.mask)
    np.testing.assert_allclose(other.volume, normal.volume, atol=0.01)
    back, expected = other.intensity_to_native(other.volume), normal.intensity_to_native(normal.volume)
    np.testing.assert_allclose(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(expected) * 3.7 - 300.0, atol=8.0)


@pytest.mark.parametrize(
    ("stretch", "quality", "ok", "codes"),
    [(1.0, 0.95, True, []), (1.0, 0.5, False, ["registration_poor"]), (2.0, 0.95, True, ["size_unusual"])],
)
def test_a_poor_registration_and_an_odd_size_are_told(
    monkeypatch: pytest.MonkeyPatch, stretch: float, quality: float, ok: bool, codes: list[str]
) -> None:
    def place(*_: object) -> registration.Registered:
        affine = sitk.AffineTransform(3)
        affine.Scale((1.0, 1.0, stretch))
        return registration.Registered(affine, quality, ok)

    monkeypatch.setattr(preparation.registration, "register", place)
    listener = Listener()
    prepared(listener)
    assert listener.warnings == codes


def test_cancelling_ends_the_run() -> None:
    with pytest.raises(Cancelled):
        prepared(Listener(last="bias"))


def test_only_the_part_around_the_brain_is_corrected_and_normalized() -> None:
    padded = sitk.ConstantPad(scan(), [20, 10, 5], [5, 10, 20], 0.0)
    result = preparation.prepare(padded, grid=GRID, atlas=ATLAS, progress=Quiet())
    brain = np.argwhere(sitk.GetArrayViewFromImage(result.native_mask))[:, ::-1]
    reach = np.ceil(preparation.MARGIN_MM / np.array(padded.GetSpacing())) + 1
    most = np.ptp(brain, axis=0) + 1 + 2 * reach
    for image in (result.way.corrected.image, result.way.corrected.field, result.way.normalized.image):
        assert (np.array(image.GetSize()) <= most).all()
    back = result.intensity_to_native(result.volume)
    assert Grid.of(back) == Grid.of(padded)
    outside = sitk.GetArrayViewFromImage(result.native_mask) == 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back)[outside], sitk.GetArrayFromImage(padded)[outside])


def test_the_way_back_needs_no_more_of_the_scan_than_what_is_around_the_brain() -> None:
    padded = sitk.Flip(sitk.ConstantPad(scan(), [20, 10, 5], [5, 10, 20], 0.0), [True, False, False])
    whole = preparation.prepare(padded, grid=GRID, atlas=ATLAS, progress=Quiet())
    lean = whole.around_brain()
    part = whole.way.normalized.image.GetNumberOfPixels()
    assert part < whole.way.oriented.image.GetNumberOfPixels()
    assert [step.image.GetNumberOfPixels() for step in (lean.way.oriented, lean.way.leveled)] == [part] * 2
    for way_back in ("score_to_native", "intensity_to_native"):
        one, other = (getattr(prepared, way_back)(whole.volume) for prepared in (whole, lean))
        assert Grid.of(one) == Grid.of(other) == Grid.of(padded)
        np.testing.assert_array_equal(sitk.GetArrayViewFromImage(one), sitk.GetArrayViewFromImage(other))
