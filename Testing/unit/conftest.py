"""Shared by the unit tests: the program as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Environment variables for a process that imports the engine."""
    import conddiffusion_uad

    package = Path(conddiffusion_uad.__file__).parent.parent
    return {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}


def _heed_signals() -> None:
    """As in a terminal: tests that a shell runs in the background, or under nohup, inherit that these are ignored."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


@pytest.fixture(scope="session")
def start(environment: dict[str, str]) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts `conddiffusion-uad` with the given arguments as a process with pipes for stdin, stdout and stderr."""

    def starting(*arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "conddiffusion_uad", *map(str, arguments)]
        pipe = subprocess.PIPE
        heeding = _heed_signals if sys.platform != "win32" else None
        return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, preexec_fn=heeding)

    return starting
