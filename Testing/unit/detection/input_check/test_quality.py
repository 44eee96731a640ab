"""Figures of a scan, on scans whose figures are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.detection.input_check.contrast_estimate import estimate_contrast
from conddiffusion_uad.detection.input_check.quality import (
    FLUID,
    GRAY,
    WHITE,
    anatomy,
    ghosting,
    measure,
    noise,
    shown,
    tissue_map,
)
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas as atlases
from conddiffusion_uad.preprocessing.preparation import Prepared, prepare
from conddiffusion_uad.protocol.events import Quiet

ATLAS = atlases.load()
GRID = Grid((40, 48, 40), (4.0, 4.0, 4.0), (-78.0, -78.0, -74.0))


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    """The atlas as a scan of 4 mm."""
    return prepare(sitk.BinShrink(ATLAS.t1, [2, 2, 2]), grid=GRID, atlas=ATLAS, progress=Quiet())


def test_the_atlas_is_a_whole_t1_weighted_brain(prepared: Prepared) -> None:
    quality = measure(prepared)
    assert quality.coverage > 0.99 and quality.filled > 0.9 and quality.overlap > 0.95
    assert quality.brain_ml == pytest.approx(np.sum(sitk.GetArrayFromImage(ATLAS.mask)) * 0.008, rel=0.1)
    assert quality.anatomy > 0.5
    assert quality.fluid < quality.gray < quality.white
    assert estimate_contrast(quality).contrast == "T1" and estimate_contrast(quality).sure
    assert quality.ghosting is None and quality.shading < 1.3


def test_shuffled_voxels_are_no_anatomy(prepared: Prepared) -> None:
    values = prepared.volume.copy()
    inside = values[prepared.mask]
    values[prepared.mask] = np.random.default_rng(0).permutation(inside)
    shuffled: Any = SimpleNamespace(volume=values, mask=prepared.mask, grid=prepared.grid)
    assert anatomy(shuffled) < 0.01
    inverted: Any = SimpleNamespace(volume=1 - prepared.volume, mask=prepared.mask, grid=prepared.grid)
    assert anatomy(inverted) == pytest.approx(anatomy(prepared), rel=0.05)  # whatever the contrast


def test_a_coarse_grid_cannot_tell_anatomy() -> None:
    coarse = Grid((20, 24, 20), (8.0, 8.0, 8.0), (-76.0, -76.0, -72.0))
    mask = np.zeros(coarse.size[::-1], bool)
    mask[6:14, 6:14, 6:14] = True
    assert anatomy(SimpleNamespace(volume=mask.astype(np.float32), mask=mask, grid=coarse)) is None


def test_a_brain_of_two_voxels_has_no_noise() -> None:
    brain = np.zeros((9, 9, 9), bool)
    brain[4:6, 4:6, 4:6] = True
    assert noise(sitk.GetImageFromArray(brain.astype(np.float32)), brain) == 0


def part_of_the_atlas(low: int, high: int) -> tuple[Any, np.ndarray]:
    """What `shown` needs of a scan that has only some of the atlas' axial slices, and its brain mask."""
    image = ATLAS.mask[:, :, low:high]
    way = SimpleNamespace(oriented=SimpleNamespace(image=image))
    registration = SimpleNamespace(to_atlas=sitk.AffineTransform(3))
    return SimpleNamespace(way=way, registration=registration), sitk.GetArrayFromImage(image) > 0


def test_coverage_is_the_share_of_the_brain_in_the_field_of_view() -> None:
    brain = sitk.GetArrayFromImage(ATLAS.mask) > 0
    middle = len(brain) // 2
    expected = brain[:middle].sum() / brain.sum()
    coverage, filled = shown(*part_of_the_atlas(0, middle))
    assert coverage == pytest.approx(expected, abs=0.03) and filled == pytest.approx(expected, abs=0.03)
    prepared, mask = part_of_the_atlas(0, len(brain))
    assert shown(prepared, mask) == (1.0, 1.0)
    assert shown(prepared, mask & False) == (1.0, 0.0)


def test_the_tissue_map_has_fluid_inside_and_no_tissue_at_the_rim() -> None:
    labels = sitk.GetArrayFromImage(tissue_map())
    t1 = sitk.GetArrayFromImage(ATLAS.t1)
    levels = [float(np.median(t1[labels == label])) for label in (FLUID, GRAY, WHITE)]
    assert levels == sorted(levels)
    assert all((labels == label).sum() > 500 for label in (FLUID, GRAY, WHITE))
    assert not labels[sitk.GetArrayFromImage(ATLAS.mask) == 0].any()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 1.0, 1.0)])
@pytest.mark.parametrize("sigma", [2.0, 10.0])
def test_noise_is_found_beside_anatomy(spacing: tuple[float, float, float], sigma: float) -> None:
    z, y, x = np.indices((40, 60, 60)) - 30
    brain = (z**2 + y**2 + x**2) < 28**2
    anatomy = 100.0 + 40 * (y > 0) + 20 * np.sin(x / 2) * (x > 0)
    values = (anatomy + np.random.default_rng(0).normal(0, sigma, brain.shape)) * brain
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing(spacing)
    assert noise(image, brain) == pytest.approx(sigma, rel=0.35)


def head(ghost: float, axis: int, air: float = 3.0) -> tuple[sitk.Image, np.ndarray]:
    """A head in air, with ghosts shifted by a third of the field of view along an array axis; and its brain."""
    _, y, x = np.indices((12, 128, 128)) - 64
    outline = (y / 1.2) ** 2 + x**2 < 25**2
    values = 100.0 * outline + ghost * 100.0 * sum(np.roll(outline, shift, axis) for shift in (-43, 43)) * ~outline
    values += np.random.default_rng(0).uniform(0, air, values.shape)
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing((2.0, 2.0, 4.0))
    return image, (y / 1.2) ** 2 + x**2 < 20**2


@pytest.mark.parametrize("axis", [1, 2])
def test_ghosts_are_found_in_the_air_beside_the_head(axis: int) -> None:
    clean, light, strong = (ghosting(*head(ghost, axis)) for ghost in (0.0, 0.05, 0.2))
    assert abs(clean) < 0.002
    assert 0.02 < light < 0.06
    assert strong == pytest.approx(4 * light, rel=0.05)


def test_ghosts_are_not_looked_for_where_the_air_was_blanked() -> None:
    assert ghosting(*head(0.0, 1, air=0.0)) is None
