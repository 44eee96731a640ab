"""An installer that installs nothing: for tests of the panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class FakeInstaller:
    """Does as if; see `CondDiffusionUADLib.run.Installer.Installer`.

    Attributes:
        ready: Whether the environment is there.
        calls: What was asked of it, in order.
        listener: Of what is under way; a test tells it how it goes, and ends it with `finish`.
    """

    def __init__(self, ready: bool = True) -> None:
        self.ready = ready
        self.calls: list[tuple[Any, ...]] = []
        self.listener: Any = None

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self.listener is not None

    def state(self) -> Any:
        """As `ready` says."""
        from CondDiffusionUADLib.run.InstallTexts import EnvironmentState

        place = Path("/home/someone/.local/share/CondDiffusionUAD/Engine/0123456789")
        if self.ready:
            return EnvironmentState(True, False, place, 1700, "Python 3.12, PyTorch 2.13.0, 1,700 MB.")
        return EnvironmentState(False, False, place, None, "It is not installed yet.")

    def question(self, wheels: Path | None = None) -> str:
        """A question."""
        return f"Install from {wheels or 'the registry'}?"

    def install(self, listener: Any, wheels: Path | None = None) -> None:
        """Begin."""
        self.calls.append(("install", wheels))
        self.listener = listener

    def use(self, python: str, listener: Any) -> None:
        """Begin."""
        self.calls.append(("use", python))
        self.listener = listener

    def finish(self, problem: Any = None) -> None:
        """End what is under way."""
        listener, self.listener = self.listener, None
        self.ready = self.ready or problem is None
        listener.onInstalled(problem)

    def cancel(self) -> None:
        """Take note; what comes of it is told later, and a test does that with `finish`."""
        self.calls.append(("cancel",))

    def remove(self) -> None:
        """It is gone."""
        self.calls.append(("remove",))
        self.ready = False

    def stop(self) -> None:
        """Forget what is under way."""
        self.listener = None
