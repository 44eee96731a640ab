"""The synthetic sample scan is what its script makes, has the lesion it claims, and says that it is synthetic."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import nibabel
import numpy as np
import pytest

from conddiffusion_uad.io.resources import resources


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_sample_scan", resources() / "SampleData" / "make_sample_scan.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shipped(script: ModuleType) -> tuple[nibabel.Nifti1Image, nibabel.Nifti1Image]:
    folder = resources() / "SampleData"
    names = (f"{script.SHIPPED_NAME}.nii.gz", f"{script.SHIPPED_NAME}_truth.nii.gz")
    return tuple(nibabel.load(folder / name) for name in names)


def test_shipped_scan_is_the_one_of_its_seed(script: ModuleType, shipped: tuple) -> None:
    made = script.make_sample_scan(script.SHIPPED_SEED)
    scan, truth = (np.asarray(image.dataobj) for image in shipped)
    assert scan.dtype == np.int16
    np.testing.assert_allclose(made.affine, shipped[0].affine)
    # Another processor may round a voxel to the other side.
    assert np.mean(np.abs(scan.astype(int) - made.intensities) > 1) < 1e-3
    assert np.mean(truth != made.lesion) < 1e-5


def test_every_seed_puts_another_lesion_into_white_matter(script: ModuleType) -> None:
    tissues, _ = script.load_tissues()
    volumes, centers = [], []
    for seed in range(3):
        lesion = script.place_lesion(tissues, np.random.default_rng(seed))
        volumes.append(lesion.sum() / 1000)
        centers.append(np.argwhere(lesion).mean(axis=0))
        assert tissues.white[lesion].mean() > 0.5
        assert not lesion[~tissues.brain].any()
    assert all(2.0 <= volume <= 8.0 for volume in volumes)
    assert len({tuple(np.round(center)) for center in centers}) == 3


def test_tissues_look_t2_weighted_and_the_lesion_is_bright(script: ModuleType, shipped: tuple) -> None:
    scan, truth = (np.asarray(image.dataobj) for image in shipped)
    brain = scan > 0
    white = np.percentile(scan[brain], 15)
    fluid = np.percentile(scan[brain], 99)
    lesion = np.median(scan[truth == 1])
    assert fluid > 2 * white
    assert 1.5 * white < lesion < 1.1 * fluid
    assert (truth[~brain] == 0).all()
    assert 0.15 < brain.mean() < 0.35


def test_headers_say_synthetic_and_the_file_is_small(shipped: tuple) -> None:
    for image in shipped:
        assert b"synthetic" in bytes(image.header["descrip"])
    path = resources() / "SampleData" / "synthetic_T2_brain.nii.gz"
    assert path.stat().st_size < 3_000_000
