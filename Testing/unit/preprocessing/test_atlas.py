"""The shipped atlas: small, in MNI152 world coordinates, and whole."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.io.resources import resources
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas as atlases


def test_it_is_small_and_its_two_images_share_a_grid() -> None:
    atlas = atlases.load()
    assert Grid.of(atlas.t1) == Grid.of(atlas.mask)
    assert sum(file.stat().st_size for file in (resources() / "Atlas").glob("*.nii.gz")) < 1_500_000
    outside = sitk.GetArrayViewFromImage(atlas.mask) == 0
    assert not sitk.GetArrayViewFromImage(atlas.t1)[outside].any()


@pytest.mark.parametrize(
    ("ras", "inside"),
    [
        ((0, 0, 0), True),  # anterior commissure
        ((0, -25, 5), True),  # thalami and third ventricle: no hole
        ((0, 65, 0), True),  # frontal pole
        ((0, -98, 5), True),  # occipital pole
        ((-30, -65, -40), True),  # cerebellum
        ((0, 85, 0), False),
        ((0, -115, 0), False),
        ((80, 0, 0), False),
        ((0, 0, 95), False),
    ],
)
def test_known_places_lie_where_mni_coordinates_put_them(ras: tuple[float, float, float], inside: bool) -> None:
    mask = atlases.load().mask
    index = mask.TransformPhysicalPointToIndex((-ras[0], -ras[1], ras[2]))
    within = all(0 <= i < n for i, n in zip(index, mask.GetSize(), strict=True))
    assert (within and bool(mask[index])) is inside


def test_white_matter_is_bright_and_the_hemispheres_are_alike() -> None:
    t1 = atlases.load().t1
    white, ventricle = (t1[t1.TransformPhysicalPointToIndex(point)] for point in ((25, 20, 25), (4, -12, 12)))
    assert white > 150 > ventricle
    values = sitk.GetArrayFromImage(t1)
    assert np.corrcoef(values.ravel(), values[:, :, ::-1].ravel())[0, 1] > 0.95
