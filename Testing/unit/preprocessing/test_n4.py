"""The shading that N4 finds is the one that ITK's filter finds, and it stops where that would stop."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.preprocessing.n4 import log_field


def head() -> tuple[np.ndarray, np.ndarray]:
    """Logarithm of shaded tissue of three intensities in a ball, and the ball (z, y, x)."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, length) for length in (24, 30, 26)), indexing="ij")
    ball = x**2 + y**2 + z**2 < 0.8
    tissue = np.digitize(np.sin(16 * x) + np.sin(17 * y) + np.sin(15 * z), [-0.5, 0.7])
    noise = np.random.default_rng(0).normal(0, 0.03, ball.shape)
    return np.log(60.0 + 40.0 * tissue) + 0.3 * x * y - 0.2 * z + noise, ball


def of_itk(values: np.ndarray, mask: np.ndarray, points: int, iterations: int) -> np.ndarray:
    """The logarithm of the field by ITK's filter at one level."""
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([iterations])
    n4.SetNumberOfControlPoints([points] * 3)
    image = sitk.GetImageFromArray(np.exp(values).astype(np.float32))
    n4.Execute(image, sitk.GetImageFromArray(mask.astype(np.uint8)))
    return sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image))


@pytest.mark.parametrize(("points", "iterations"), [(4, 1), (5, 3), (7, 20)])
def test_one_level_gives_the_field_of_itk(points: int, iterations: int) -> None:
    values, mask = head()
    ours = log_field(values, mask, (points,), iterations, lambda share: None)
    theirs = of_itk(values, mask, points, iterations)
    assert theirs[mask].std() > 0.002
    assert np.abs(ours - theirs)[mask].max() < 0.001 * theirs[mask].std()


def test_levels_go_on_from_each_other_until_nothing_changes() -> None:
    values, mask = head()
    told: list[float] = []
    field = log_field(values, mask, (4, 5, 7), 50, told.append)
    assert len(told) < 150
    assert told == sorted(told)
    left = (values - field)[mask]
    assert left.std() < values[mask].std()


def test_one_intensity_has_no_shading() -> None:
    mask = np.ones((8, 8, 8), bool)
    assert not log_field(np.full(mask.shape, 3.0), mask, (4, 5), 5, lambda share: None).any()
