"""What the panel needs to know of the engine's environment and of its installation.

`CondDiffusionUADLib.run.Installer.Installer` does it; `fake_installer.FakeInstaller` does as if, for tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from CondDiffusionUADLib.run.Problems import Problem


@dataclass(frozen=True)
class EnvironmentState:
    """The Python environment that the engine runs in.

    Attributes:
        ready: Whether it is complete: a detection can begin.
        named: Whether it is one that the user made by hand and named, instead of our own.
        place: Its folder; where it would be when it is not there.
        megabytes: Its size on the disk; None when it is not there or not ours.
        text: A sentence or two about it for the panel: what it is, or why it cannot be used.
    """

    ready: bool
    named: bool
    place: Path
    megabytes: int | None
    text: str


class InstallListener(Protocol):
    """Who is told how an installation goes."""

    def onStep(self, text: str, fraction: float | None) -> None:
        """What is being done, in words and megabytes; how much of all is done (0..1), None when that is not known."""

    def onQuestion(self, text: str) -> bool:
        """Ask the user, who may decline: the download is larger than was said, for one."""

    def onLog(self, line: str) -> None:
        """A line for the log."""

    def onInstalled(self, problem: Problem | None) -> None:
        """It is over: the environment is ready, or it is as it was before and the problem says why."""


class Installing(Protocol):
    """Sees to the environment that the engine runs in. Nothing here asks the user by itself."""

    @property
    def busy(self) -> bool:
        """Whether an installation, or a check of a named environment, is under way."""

    def state(self) -> EnvironmentState:
        """What is there; quick, no process is started."""

    def question(self, wheels: Path | None = None) -> str:
        """What to ask before `install`: what comes, from where, how large, into which folder."""

    def install(self, listener: InstallListener, wheels: Path | None = None) -> None:
        """Make our own environment, anew when there is one (that is how it is repaired).

        Args:
            listener: Is told how it goes; `onInstalled` comes exactly once, and never before this returns.
            wheels: A folder of wheels to take everything from, without any network; None for the registry.
        """

    def cancel(self) -> None:
        """Give up what is under way; `onInstalled` comes, with the problem `canceled`, within three seconds."""

    def use(self, python: str, listener: InstallListener) -> None:
        """Use an environment that the user made by hand, from now on and after restarts too.

        It is tried first and only taken when the engine can run in it.

        Args:
            python: Its Python, or its folder; empty to go back to our own.
            listener: Is told how it goes.
        """

    def remove(self) -> None:
        """Delete our own environment and all that was kept for it. Raises ProblemError."""

    def stop(self) -> None:
        """The panel goes: give up at once what is under way; nobody is told."""
