"""Shared by the unit tests: a small scan, a small model bundle, and the program as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
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


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Environment variables for a process that imports the engine."""
    import conddiffusion_uad

    package = Path(conddiffusion_uad.__file__).parent.parent
    return {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def start(environment: dict[str, str]) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts `conddiffusion-uad` with the given arguments as a process with pipes for stdin, stdout and stderr."""

    def starting(*arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "conddiffusion_uad", *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)

    return starting
