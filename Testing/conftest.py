"""Shared by all tests: a small scan and a small model bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_case import make_bundle, make_scan


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stripped T1-weighted brain with voxels of 4 mm and one bright ball, from the shipped atlas."""
    path = tmp_path_factory.mktemp("scan") / "ball_T1.nii.gz"
    make_scan(path)
    return path


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with an untrained network of the right kind and a made-up calibration for T1."""
    folder = tmp_path_factory.mktemp("bundles") / "small"
    make_bundle(folder)
    return folder
