"""Percentile normalization against its closed form."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.preprocessing.normalization import normalize


def images(values: np.ndarray, inside: np.ndarray) -> tuple[sitk.Image, sitk.Image]:
    return sitk.GetImageFromArray(values.astype(np.float32)), sitk.GetImageFromArray(inside.astype(np.uint8))


def test_percentiles_inside_the_mask_become_zero_and_one() -> None:
    values = np.full((10, 20, 11), 1e4)  # bright surroundings must not count
    values[:, :10] = np.linspace(-50, 150, 1100).reshape(10, 10, 11)
    inside = np.zeros(values.shape)
    inside[:, :10] = 1
    result = normalize(*images(values, inside), lower=5, upper=95)
    assert (result.low, result.high) == pytest.approx((-40.0, 140.0), abs=1e-3)
    array = sitk.GetArrayFromImage(result.image)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, np.clip((values + 40.0) / 180.0, 0, 1), atol=1e-5)


def test_undo_restores_what_was_not_clipped() -> None:
    values = np.random.default_rng(0).normal(500, 40, (12, 12, 12))
    image, mask = images(values, np.ones(values.shape))
    result = normalize(image, mask)
    back = sitk.GetArrayFromImage(result.undo(result.image))
    np.testing.assert_allclose(back, np.clip(values, result.low, result.high), atol=1e-2)
    np.testing.assert_allclose(result.undo(np.array([0.0, 1.0])), [result.low, result.high])


def test_a_brain_of_one_intensity_becomes_zero() -> None:
    result = normalize(*images(np.full((8, 8, 8), 7.0), np.ones((8, 8, 8))))
    assert sitk.GetArrayFromImage(result.image).max() == 0.0
    assert float(result.undo(np.zeros(1))[0]) == 7.0
