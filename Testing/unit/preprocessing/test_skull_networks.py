"""The package's networks are used as the package uses them, and nothing else of it."""

from __future__ import annotations

import json
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from conddiffusion_uad.io.geometry import FLIP, affine_of
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas as atlases
from conddiffusion_uad.preprocessing import skull_networks


def head(grid: Grid) -> sitk.Image:
    """The atlas' brain in 8 mm of darkness and 7 mm of scalp, leaning to a side so that no two axes look alike."""
    shipped, lean = atlases.load(), sitk.AffineTransform(3)
    lean.SetMatrix((1.0, 0.1, 0.05, -0.1, 1.0, 0.0, -0.05, 0.0, 1.0))
    values = sitk.GetArrayFromImage(sitk.Resample(shipped.t1, grid.blank(), lean))
    inside = sitk.Resample(shipped.mask, grid.blank(), lean, sitk.sitkNearestNeighbor)
    depth = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(inside, squaredDistance=False, useImageSpacing=True))
    random = np.random.default_rng(0)
    values += random.normal(0, 4, values.shape) + 220 * ((depth > 8) & (depth < 15))
    return grid.with_array(values.astype(np.float32))


@pytest.mark.parametrize(
    "grid",
    [
        Grid((131, 125, 62), (1.7, 2.1, 4.0), (-110.0, -128.0, -100.0)),
        Grid((90, 170, 60), (2.2, 1.9, 3.0), (-80.0, -190.0, -60.0)),  # cut off, and off the middle
    ],
)
def test_masks_are_those_of_the_package(grid: Grid) -> None:
    from deepbet.bet import BrainExtraction

    scan = head(grid)
    values = sitk.GetArrayFromImage(scan).transpose(2, 1, 0)
    _, theirs, _ = BrainExtraction(no_gpu=True).run(nibabel.Nifti1Image(values, FLIP @ affine_of(grid)))
    expected = np.asarray(theirs.dataobj).transpose(2, 1, 0) > 0
    found = skull_networks.mask(scan, skull_networks.load("cpu"))
    assert found.dtype == np.uint8
    assert expected.mean() > 0.05
    assert np.mean((found > 0) != expected) < 1e-5


def test_what_is_thinner_than_a_voxel_is_no_brain() -> None:
    def sheet(seen: torch.Tensor) -> torch.Tensor:
        """Brain in three of 128 planes, of which a voxel is as thick as eight."""
        return torch.zeros(seen.shape, dtype=torch.bool).index_fill_(2, torch.arange(60, 63), True)

    scan = Grid((90, 90, 16), (2.0, 2.0, 10.0), (0.0, 0.0, 0.0)).with_array(np.ones((16, 90, 90), np.float32))
    assert not skull_networks.mask(scan, skull_networks.Networks(sheet, sheet, "cpu")).any()


def test_nothing_else_of_the_package_is_imported_and_no_brain_is_an_empty_mask(environment: dict[str, str]) -> None:
    code = """
import json, sys
import SimpleITK as sitk
from conddiffusion_uad.preprocessing import skull_networks
found = skull_networks.mask(sitk.Image([9, 8, 7], sitk.sitkFloat32), skull_networks.load("cpu"))
needless = {"deepbet", "pandas", "nibabel", "cc3d", "fill_voids"} & set(sys.modules)
print(json.dumps([found.shape, int(found.sum()), sorted(needless)]))
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[7, 8, 9], 0, []]
