"""Turning a scan's axes: values and places stay, and the way back is exact."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing.orientation import orient

ORIENTATIONS = list(product(permutations(range(3)), product((-1.0, 1.0), repeat=3)))


def scan(axes: tuple[int, ...], signs: tuple[float, ...], tilt: tuple[float, float, float] = (0, 0, 0)) -> sitk.Image:
    """A scan whose axis k runs along world axis axes[k] in direction signs[k], the whole tilted by three angles."""
    direction = np.zeros((3, 3))
    for k, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        direction[axis, k] = sign
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*tilt)
    values = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.7, 1.3, 2.9))
    image.SetOrigin((-12.3, 45.6, 7.8))
    image.SetDirection((np.array(turn.GetMatrix()).reshape(3, 3) @ direction).flatten())
    return image


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_every_orientation_becomes_lps_and_comes_back_exactly(axes: tuple[int, ...], signs: tuple[float, ...]) -> None:
    image = scan(axes, signs, tilt=(0.2, -0.1, 0.15))
    oriented = orient(image)
    direction = np.array(oriented.image.GetDirection()).reshape(3, 3)
    assert direction.diagonal().min() > 0.9
    back = oriented.undo(oriented.image)
    assert Grid.of(back) == Grid.of(image)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS[::7])
def test_each_voxel_keeps_its_place_in_the_patient(axes: tuple[int, ...], signs: tuple[float, ...]) -> None:
    image = scan(axes, signs, tilt=(0.2, -0.1, 0.15))
    turned = orient(image).image
    for index in ((0, 0, 0), (6, 5, 4), (3, 0, 2)):
        there = turned.TransformPhysicalPointToIndex(image.TransformIndexToPhysicalPoint(index))
        assert turned[there] == image[index]


def test_a_scan_tilted_by_45_degrees_keeps_three_different_axes() -> None:
    image = scan((0, 1, 2), (1, 1, 1), tilt=(np.pi / 4, 0, np.pi / 4))
    oriented = orient(image)
    assert sorted(oriented.axes) == [0, 1, 2]
    assert Grid.of(oriented.undo(oriented.image)) == Grid.of(image)
