"""Sees to the environment that the engine runs in. A process does the work, `BuildEnvironment`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import qt
import slicer

from CondDiffusionUADLib.run import InstallTexts, Problems, UserSettings
from CondDiffusionUADLib.run.Application import renewWorker
from CondDiffusionUADLib.run.ChildProcess import ChildProcess
from CondDiffusionUADLib.run.EngineLaunch import ownPlace, slicersPythonLaunch
from CondDiffusionUADLib.run.Environment import OLD, engineFolder, leftovers, pythonOf, readRecord
from CondDiffusionUADLib.run.Folders import moduleFolder, resource
from CondDiffusionUADLib.run.InstallTexts import EnvironmentState, InstallListener
from CondDiffusionUADLib.run.Problems import Problem, ProblemError
from CondDiffusionUADLib.run.WorkerProcess import LineBuffer, readEvent

_MODULE = "CondDiffusionUADLib.run.BuildEnvironment"
_PATIENCE_MS = 1500  # to tidy up, when Slicer quits
_ANSWER_MS = 2500  # for the process to say what came of a cancel


class Installer:
    """Installs, checks and removes; one thing at a time. Nothing here asks the user by itself.

    `fake_installer.FakeInstaller` does as if, for tests.

    Args:
        more: What the process is told beside the rest; see `BuildOrder.Order`.
    """

    def __init__(self, more: Mapping[str, Any] | None = None) -> None:
        self._more = more or {}
        self._job: _Job | None = None
        self._tidying: list[_Job] = []  # decided, and still removing what is not needed
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
            _later(lambda: listener.onInstalled(problem))
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
        self._begin(_Job(listener, {**order, **self._more}, self._onDecided, self._onOver))

    def use(self, python: str, listener: InstallListener) -> None:
        """Use an environment that the user made by hand, from now on and after restarts too, if the engine runs in it.

        Args:
            python: Its Python, or its folder; empty to go back to our own.
            listener: Is told how it goes.
        """
        if not python:
            UserSettings.setEnvironmentPython("")
            _later(lambda: listener.onInstalled(None))
            return
        program = pythonOf(Path(python))
        if not program.is_file():
            _later(lambda: listener.onInstalled(Problems.environmentGone(str(program))))
            return
        self._begin(_Job(listener, {"existing": str(program), **self._more}, self._onDecided, self._onOver))

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
            job = _Job(_Nobody(), {"environment": str(place), "sweep": True}, self._onDecided, self._onSwept)
            self._tidying.append(job)
            job.start()

    def stop(self) -> None:
        """The panel goes: give up at once what is under way; nobody is told."""
        jobs = [*filter(None, [self._job]), *self._tidying]
        self._job, self._tidying = None, []
        for job in jobs:
            job.stop()

    def _begin(self, job: _Job) -> None:
        if self.busy:
            raise ProblemError(Problems.busyInstalling())
        self._job = job
        job.start()

    def _onDecided(self, job: _Job) -> None:
        if self._job is job:
            self._job = None
            self._tidying.append(job)

    def _onSwept(self, job: _Job) -> None:
        if job in self._tidying:
            self._tidying.remove(job)

    def _onOver(self, job: _Job) -> None:
        if job in self._tidying:
            self._tidying.remove(job)
            self.sweep()  # what was removed meanwhile, or a process left that was killed


class _Nobody:
    """Listens to what nobody asked for."""

    def onStep(self, text: str, fraction: float | None) -> None:
        """Nothing."""

    def onQuestion(self, text: str) -> bool:
        """No."""
        return False

    def onLog(self, line: str) -> None:
        """Nothing."""

    def onInstalled(self, problem: Problem | None) -> None:
        """Nothing."""


_Told = Callable[["_Job"], None]


class _Job:
    """One run of the process.

    Args:
        listener: Is told how it goes.
        order: What is to be done, beside what is the same for all.
        decided: Called when it is known how it ended, before the listener is told.
        over: Called when the process is gone.
    """

    def __init__(self, listener: InstallListener, order: Mapping[str, Any], decided: _Told, over: _Told) -> None:
        self._listener: InstallListener = listener
        self._decided, self._over = decided, over
        self._open, self._settled = True, False  # until it is told how it ended; whether it is too late to cancel
        self._order = order
        self._lines, self._logged = LineBuffer(), LineBuffer()
        self._process = ChildProcess(slicersPythonLaunch(_MODULE), self._onEnded, self._onOutput, self._onLog)

    def start(self) -> None:
        """Begin."""
        try:
            told = self._told()
        except OSError as error:
            problem = Problems.installationFailed(str(error))
            _later(lambda: self._end(problem))
            return
        try:
            self._process.start()
        except OSError as error:
            problem = Problems.fromError(error)
            _later(lambda: self._end(problem))
            return
        self._process.write(told)

    def _told(self) -> bytes:
        """The order as the process takes it. Raises OSError when the extension is not whole."""
        variables = slicer.app.startupEnvironment()
        started = {str(name): str(variables.value(name)) for name in variables.keys()}  # noqa: SIM118
        order = {
            "environment": "",  # where none is made, a place for one is not needed
            "requirements": str(resource("requirements.txt")),
            "module": str(moduleFolder()),
            "scan": str(resource("SampleData/synthetic_T2_brain.nii.gz")),
            "started": started,
            **self._order,
        }
        return (json.dumps(order) + "\n").encode("ascii")

    def cancel(self) -> None:
        """Give up, and let the process say what came of it; it may be busy with what cannot be broken off."""
        self._process.write(b"cancel\n")
        self._process.closeInput()
        qt.QTimer.singleShot(_ANSWER_MS, self._onNoAnswer)

    def stop(self) -> None:
        """Give up, and tell nobody; what cannot be removed in time, the next start will."""
        self._listener = _Nobody()
        self._process.closeInput()
        self._process.waitForEnd(_PATIENCE_MS)
        self._process.abandon()

    def _onOutput(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            event = readEvent(line)
            if event is None:
                self._listener.onLog(line)
            else:
                self._onEvent(event)

    def _onLog(self, data: bytes) -> None:
        for line in self._logged.feed(data):
            self._listener.onLog(line)

    def _onEvent(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "step":
            self._listener.onStep(*InstallTexts.step(event))
        elif kind == "question":
            agreed = self._listener.onQuestion(InstallTexts.largerQuestion(event))
            self._process.write((json.dumps({"answer": bool(agreed)}) + "\n").encode("ascii"))
        elif kind == "error":
            self._tell(Problems.fromInstallation(str(event.get("code", "")), str(event.get("message", ""))))
        elif kind == "settled":
            self._settled = True
        elif kind == "done":
            if self._open and not self._order.get("sweep"):
                UserSettings.setEnvironmentPython(str(self._order.get("existing", "")))
            self._tell(None)

    def _onNoAnswer(self) -> None:
        """It will give up before anything is in place: that is sure."""
        if not self._settled:
            self._tell(Problems.canceled())

    def _onEnded(self, started: bool, code: int) -> None:
        program = slicersPythonLaunch(_MODULE).program
        self._end(Problems.installationFailed("") if started else Problems.notStarted(program))

    def _end(self, problem: Problem) -> None:
        """The process is gone; the problem is that of one that did not say how it ended."""
        self._tell(problem)
        self._over(self)

    def _tell(self, problem: Problem | None) -> None:
        """Say how it ended; once. What the process does from then on is to tidy up."""
        if self._open:
            self._open = False
            listener, self._listener = self._listener, _Nobody()
            self._decided(self)
            listener.onInstalled(problem)


def _later(call: Any) -> None:
    qt.QTimer.singleShot(0, call)
