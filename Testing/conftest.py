"""Shared by all tests: a small scan and a small model bundle."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from small_case import make_bundle, make_scan

# Property-based tests: a few examples, always the same; 1,000 others with --hypothesis-profile=thorough.
_NO_HANG = timedelta(seconds=10)
settings.register_profile("quick", max_examples=40, derandomize=True, database=None, deadline=_NO_HANG)
settings.register_profile("thorough", max_examples=1000, database=None, deadline=_NO_HANG, print_blob=True)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stripped T1-weighted brain with voxels of 6 mm and one bright ball, from the shipped atlas."""
    path = tmp_path_factory.mktemp("scan") / "ball_T1.nii.gz"
    make_scan(path)
    return path


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with an untrained network of the right kind and a made-up calibration for T1."""
    folder = tmp_path_factory.mktemp("bundles") / "small"
    make_bundle(folder)
    return folder


_status = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember how the tests ended."""
    session.config.stash[_status] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """After the last word, end without the interpreter's clean-up where slice views were drawn.

    The clean-up frees Slicer's slice logics in any order, also before what their upper layers still call; Slicer's own
    libraries then end the process with a segmentation fault. In the application, they live to the very end.
    """
    if "slice_views" in sys.modules and _status in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_status])
