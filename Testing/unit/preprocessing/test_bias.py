"""N4 removes a known shading inside the mask, and what it did can be undone."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import bias
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import Cancelled

GRID = Grid((32, 32, 20), (5.0, 5.0, 8.0), (-80.0, -80.0, -80.0))


def phantom() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tissue of two intensities in a ball, the ball, and a shading of about 0.7 to 1.4 (z, y, x)."""
    z, y, x = np.indices(GRID.size[::-1]) * np.array(GRID.spacing[::-1]).reshape(3, 1, 1, 1) - 80.0
    radius = np.sqrt(x**2 + y**2 + z**2)
    tissue = np.where((np.sin(x / 6) + np.sin(y / 6) + np.sin(z / 6)) > 0, 100.0, 60.0)
    shading = np.exp(0.005 * x - 0.003 * y)
    return tissue + np.random.default_rng(0).normal(0, 1, tissue.shape), radius < 70, shading


def spread(values: np.ndarray) -> float:
    """Coefficient of variation of one tissue."""
    return float(values.std() / values.mean())


def test_a_known_shading_is_removed_inside_the_mask() -> None:
    tissue, ball, shading = phantom()
    image = GRID.with_array((tissue * shading).astype(np.float32))
    corrected = bias.correct(image, GRID.with_array(ball.astype(np.uint8)), Quiet())
    result = sitk.GetArrayFromImage(corrected.image)
    bright = ball & (tissue > 80)
    assert spread((tissue * shading)[bright]) > 0.15
    assert spread(result[bright]) < 0.04
    field = sitk.GetArrayFromImage(corrected.field)[ball]
    assert np.corrcoef(np.log(field), np.log(shading[ball]))[0, 1] > 0.98
    assert np.log(field).mean() == pytest.approx(0.0, abs=1e-3)


def test_undo_puts_the_shading_back_and_the_field_is_bounded_everywhere() -> None:
    tissue, ball, shading = phantom()
    image = GRID.with_array((tissue * shading).astype(np.float32))
    corrected = bias.correct(image, GRID.with_array(ball.astype(np.uint8)), Quiet())
    back = sitk.GetArrayFromImage(corrected.undo(corrected.image))
    np.testing.assert_allclose(back, sitk.GetArrayFromImage(image), rtol=1e-5)
    field = sitk.GetArrayFromImage(corrected.field)
    assert np.isfinite(field).all()
    assert field.min() >= field[ball].min() * 0.999
    assert field.max() <= field[ball].max() * 1.001
    again = bias.correct(image, GRID.with_array(ball.astype(np.uint8)), Quiet())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again.field), field)


def test_a_scan_with_negative_brain_is_left_alone() -> None:
    tissue, ball, _ = phantom()
    image = GRID.with_array((tissue - 80).astype(np.float32))
    corrected = bias.correct(image, GRID.with_array(ball.astype(np.uint8)), Quiet())
    assert set(np.unique(sitk.GetArrayFromImage(corrected.field))) == {1.0}
    np.testing.assert_array_equal(sitk.GetArrayFromImage(corrected.image), sitk.GetArrayFromImage(image))


def test_cancelling_ends_the_fit() -> None:
    class Impatient(Quiet):
        reports = 0

        def advance(self, fraction: float) -> None:
            self.reports += 1
            if self.reports == 3:
                raise Cancelled()

    tissue, ball, shading = phantom()
    impatient = Impatient()
    with pytest.raises(Cancelled):
        bias.correct(
            GRID.with_array((tissue * shading).astype(np.float32)), GRID.with_array(ball.astype(np.uint8)), impatient
        )
    assert impatient.reports == 3


def test_the_field_does_not_depend_on_how_many_processors_there_are() -> None:
    tissue, ball, shading = phantom()
    image = GRID.with_array((tissue * shading).astype(np.float32))
    mask = GRID.with_array(ball.astype(np.uint8))
    usual = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    fields = []
    try:
        for number in (1, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(number)
            fields.append(sitk.GetArrayFromImage(bias.correct(image, mask, Quiet()).field))
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == number
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(usual)
    np.testing.assert_array_equal(*fields)
