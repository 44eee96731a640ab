"""Implanted lesions have the size, the contrast and the place that they say, whatever way the scan is stored."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from conddiffusion_uad.evaluation.shifts.implanted import CONTRASTS, DIAMETERS_MM, ROUNDS, implant
from conddiffusion_uad.io.volume import Grid

SHAPE = (70, 80, 66)  # z, y, x
GRID = Grid(SHAPE[::-1], (2.0, 2.0, 2.0), (10.0, -20.0, 5.0))


def brain(spacing: tuple[float, float, float] = (2.0, 2.0, 2.0), shape: tuple[int, int, int] = SHAPE) -> sitk.Image:
    """An ellipsoid in the middle."""
    places = np.indices(shape).reshape(3, *shape)
    middle = [(size - 1) / 2 for size in shape]
    inside = sum(((p - m) / (m - 3)) ** 2 for p, m in zip(places, middle, strict=True)) < 1
    return Grid(shape[::-1], spacing, (10.0, -20.0, 5.0)).with_array(inside.astype(np.uint8))


def scan_of(mask: sitk.Image) -> sitk.Image:
    """Tissue around 600 in it, 100 outside; the brightest percentile is near 800."""
    inside = sitk.GetArrayFromImage(mask) > 0
    tissue = np.random.default_rng(0).uniform(400, 800, inside.shape)
    return Grid.of(mask).with_array(np.where(inside, tissue, 100).astype(np.float32))


MASK = brain()
SCAN = scan_of(MASK)


@pytest.mark.parametrize(("contrast", "sign"), [("T1", -1), ("T2", 1), ("FLAIR", 1)])
def test_size_contrast_and_place_are_what_they_say(contrast: str, sign: int) -> None:
    changed, lesions = implant(SCAN, MASK, contrast, 1)
    change = sitk.GetArrayFromImage(changed) - sitk.GetArrayFromImage(SCAN)
    inside = sitk.GetArrayFromImage(MASK) > 0
    unit = np.percentile(sitk.GetArrayFromImage(SCAN)[inside], 99) - 100
    assert [lesion.diameter_mm for lesion in lesions] == sorted(DIAMETERS_MM, reverse=True)
    assert sorted(lesion.contrast for lesion in lesions) == sorted(CONTRASTS)
    assert not change[~inside].any()
    for lesion in lesions:
        assert inside[lesion.where].all()
        most = np.abs(change[lesion.where]).max() / unit
        assert most == pytest.approx(lesion.contrast, rel=0.25 if lesion.diameter_mm < 8 else 0.03)
        assert (sign * change[lesion.where] > 0).all()
        near = ndimage.binary_dilation(lesion.where, iterations=3)
        filled = np.abs(change[near]).sum() / unit / lesion.contrast * 8.0  # mm^3
        assert filled == pytest.approx(np.pi / 6 * lesion.diameter_mm**3, rel=0.1)
    anywhere = np.any([lesion.where for lesion in lesions], axis=0)
    assert np.abs(change[~anywhere]).max() <= 0.5 * max(CONTRASTS) * unit + 1e-3


def test_every_size_has_every_contrast_in_the_same_place() -> None:
    rounds = [implant(SCAN, MASK, "T2", number + 1)[1] for number in range(ROUNDS)]
    doses = [(lesion.diameter_mm, lesion.contrast) for lesions in rounds for lesion in lesions]
    assert len(set(doses)) == len(doses) == len(DIAMETERS_MM) * len(CONTRASTS)
    for others in rounds[1:]:
        for first, other in zip(rounds[0], others, strict=True):
            assert np.array_equal(first.where, other.where) and first.contrast != other.contrast
    elsewhere = implant(SCAN, MASK, "T2", 1, seed=1)[1]
    assert not np.array_equal(elsewhere[0].where, rounds[0][0].where)


def test_another_way_of_storing_the_scan_gives_the_same_lesions() -> None:
    def stored(image: sitk.Image) -> sitk.Image:
        return sitk.Flip(sitk.PermuteAxes(image, [1, 2, 0]), [True, False, True])

    changed, lesions = implant(SCAN, MASK, "T2", 2)
    turned, others = implant(stored(SCAN), stored(MASK), "T2", 2)
    assert np.array_equal(sitk.GetArrayFromImage(turned), sitk.GetArrayFromImage(stored(changed)))
    for lesion, other in zip(lesions, others, strict=True):
        where = sitk.GetArrayFromImage(stored(GRID.with_array(lesion.where.astype(np.uint8)))) > 0
        assert np.array_equal(other.where, where)


def test_thick_slices_hold_small_lesions_in_part_and_a_small_brain_has_no_place_for_large_ones() -> None:
    thick = brain((2.0, 2.0, 8.0), (20, 80, 66))
    changed, lesions = implant(scan_of(thick), thick, "T2", 1)
    change = sitk.GetArrayFromImage(changed) - sitk.GetArrayFromImage(scan_of(thick))
    small = lesions[-1]
    assert small.diameter_mm == 5 and small.where.any()
    assert change[small.where].max() < 0.9 * small.contrast * 700  # 8 mm of a slice, 5 mm of lesion
    tiny = brain((1.0, 1.0, 1.0), (14, 14, 14))
    assert max((lesion.diameter_mm for lesion in implant(scan_of(tiny), tiny, "T2", 1)[1]), default=0) < 20
