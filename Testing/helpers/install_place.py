"""A place to install environments in, of wheels of a few bytes, and someone who listens how that goes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uv
from tiny_wheels import TEST, make_wheel

Wait = Callable[..., float]


class Listener:
    """Remembers what an installation tells."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float | None]] = []
        self.lines: list[str] = []
        self.ends: list[Any] = []

    def onStep(self, text: str, fraction: float | None) -> None:  # noqa: N802 (the module's name)
        """Remember."""
        self.steps.append((text, fraction))

    def onQuestion(self, text: str) -> bool:  # noqa: N802 (the module's name)
        """No."""
        return False

    def onLog(self, line: str) -> None:  # noqa: N802 (the module's name)
        """Remember."""
        self.lines.append(line)

    def onInstalled(self, problem: Any) -> None:  # noqa: N802 (the module's name)
        """Remember."""
        self.ends.append(problem)

    @property
    def code(self) -> str | None:
        """Of the problem that it ended with."""
        (end,) = self.ends
        return end.code if end else None


class Place:
    """Wheels of a few bytes, a folder for environments, and an installer that only knows these."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from CondDiffusionUADLib.run.Installer import Installer
        from CondDiffusionUADLib.run.UserSettings import setEnvironmentPython

        setEnvironmentPython("")
        self.engine, self.wheels = folder / "engine", folder / "wheels"
        self.wheels.mkdir()
        make_wheel(self.wheels, "tinytorch")
        self.test = folder / "test.py"
        self.test.write_text(TEST)
        requirements = folder / "requirements.txt"
        requirements.write_text("tinytorch>=1\n")
        monkeypatch.setenv("CONDDIFFUSION_UAD_ENGINE", str(self.engine))
        monkeypatch.setenv("UV", uv.find_uv_bin())
        told = {"requirements": str(requirements), "test": str(self.test), "python": sys.executable}
        self.installer = Installer(told)
        self.listener = Listener()

    def install(self, wait_until: Wait) -> str | None:
        """Install, to the end; the code of the problem."""
        self.listener = Listener()
        self.installer.install(self.listener, self.wheels)
        assert self.listener.ends == [] and self.installer.busy
        wait_until(lambda: self.listener.ends, 60)
        return self.listener.code
