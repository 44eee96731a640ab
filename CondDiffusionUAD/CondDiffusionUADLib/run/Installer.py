"""Sees to the environment that the engine runs in. A process does the work, `BuildEnvironment`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from CondDiffusionUADLib.run import InstallTexts, Problems, UserSettings
from CondDiffusionUADLib.run.Application import renewWorker
from CondDiffusionUADLib.run.EngineLaunch import ownPlace
from CondDiffusionUADLib.run.Environment import OLD, engineFolder, leftovers, pythonOf, readRecord
from CondDiffusionUADLib.run.InstallJob import InstallJob, Nobody, later
from CondDiffusionUADLib.run.InstallTexts import EnvironmentState, InstallListener
from CondDiffusionUADLib.run.Problems import ProblemError


class Installer:
    """Installs, checks and removes; one thing at a time. Nothing here asks the user by itself.

    `fake_installer.FakeInstaller` does as if, for tests.

    Args:
        more: What the process is told beside the rest; see `BuildOrder.Order`.
    """

    def __init__(self, more: Mapping[str, Any] | None = None) -> None:
        self._more = more or {}
        self._job: InstallJob | None = None
        self._tidying: list[InstallJob] = []  # decided, and still removing what is not needed
        self.sweep()

    @property
    def busy(self) -> bool:
        """Whether an installation, or a check of a named environment, is under way."""
        return self._job is not None

    def state(self) -> EnvironmentState:
        """What is there; quick, no process is started."""
        named = UserSettings.environmentPython()
        if named:
            ready = Path(named).is_file()
            text = InstallTexts.named(named) if ready else Problems.environmentGone(named).text
            return EnvironmentState(ready, True, Path(named), None, text)
        try:
            place = ownPlace()
        except ProblemError as error:
            return EnvironmentState(False, False, Path(), None, error.problem.text)
        record = readRecord(place)
        if record is None:
            return EnvironmentState(False, False, place, None, InstallTexts.notThere(place.exists()))
        return EnvironmentState(True, False, place, record.megabytes, InstallTexts.own(record))

    def question(self, wheels: Path | None = None) -> str:
        """What to ask before `install`: what comes, from where, how large, into which folder, in place of what.

        Raises:
            ProblemError: There is no such folder.
        """
        named = UserSettings.environmentPython()
        return InstallTexts.question(ownPlace().parent, InstallTexts.hasNvidia(), wheels, named)

    def install(self, listener: InstallListener, wheels: Path | None = None) -> None:
        """Make our own environment, anew where it is in use (that is how it is repaired), and use it from then on.

        Args:
            listener: Is told how it goes; `onInstalled` comes exactly once, and never before this returns.
            wheels: A folder of wheels to take everything from, without any network; None for the registry.
        """
        try:
            place = ownPlace()
        except ProblemError as error:
            problem = error.problem
            later(lambda: listener.onInstalled(problem))
            return
        record = None if UserSettings.environmentPython() else readRecord(place)
        renewWorker()  # Windows cannot replace what a process runs in
        order = {
            "environment": str(place),
            "expected": InstallTexts.expectedBytes(InstallTexts.hasNvidia()),
            "wheels": str(wheels or ""),
            "python": UserSettings.pythonToBuildWith(),
            "replaces": record.made if record else 0.0,
        }
        self._begin(InstallJob(listener, {**order, **self._more}, self._onDecided, self._onOver))

    def use(self, python: str, listener: InstallListener) -> None:
        """Use an environment that the user made by hand, from now on and after restarts too, if the engine runs in it.

        Args:
            python: Its Python, or its folder; empty to go back to our own.
            listener: Is told how it goes.
        """
        if not python:
            UserSettings.setEnvironmentPython("")
            later(lambda: listener.onInstalled(None))
            return
        program = pythonOf(Path(python))
        if not program.is_file():
            later(lambda: listener.onInstalled(Problems.environmentGone(str(program))))
            return
        self._begin(InstallJob(listener, {"existing": str(program), **self._more}, self._onDecided, self._onOver))

    def cancel(self) -> None:
        """Give up what is under way; `onInstalled` comes within three seconds.

        With the problem `canceled`, unless it ended by itself before that, well or not.
        """
        if self._job is not None:
            self._job.cancel()

    def remove(self) -> None:
        """Delete our own environments and all that was kept for them. Raises ProblemError."""
        if self.busy:
            raise ProblemError(Problems.busyInstalling())
        renewWorker()
        try:
            folder = engineFolder()
            for number, entry in enumerate(sorted(folder.iterdir()) if folder.is_dir() else ()):
                if not entry.name.startswith("."):
                    entry.rename(folder / f"{OLD}{entry.name}-{number}")  # at once; removing it takes a while
        except OSError as error:
            raise ProblemError(Problems.cannotRemove(str(error))) from error
        self.sweep()

    def sweep(self) -> None:
        """Remove what broken-off installations left, beside Slicer."""
        try:
            place = ownPlace()
            there = bool(leftovers(place.parent))
        except (OSError, ProblemError):
            return
        if there and not self.busy:
            job = InstallJob(Nobody(), {"environment": str(place), "sweep": True}, self._onDecided, self._onSwept)
            self._tidying.append(job)
            job.start()

    def stop(self) -> None:
        """The panel goes: give up at once what is under way; nobody is told."""
        jobs = [*filter(None, [self._job]), *self._tidying]
        self._job, self._tidying = None, []
        for job in jobs:
            job.stop()

    def _begin(self, job: InstallJob) -> None:
        if self.busy:
            raise ProblemError(Problems.busyInstalling())
        self._job = job
        job.start()

    def _onDecided(self, job: InstallJob) -> None:
        if self._job is job:
            self._job = None
            self._tidying.append(job)

    def _onSwept(self, job: InstallJob) -> None:
        if job in self._tidying:
            self._tidying.remove(job)

    def _onOver(self, job: InstallJob) -> None:
        if job in self._tidying:
            self._tidying.remove(job)
            self.sweep()  # what was removed meanwhile, or a process left that was killed
