"""One run of the process `BuildEnvironment`, from its order to its end, which is told exactly once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer

from CondDiffusionUADLib.run import InstallTexts, Problems, UserSettings
from CondDiffusionUADLib.run.ChildProcess import ChildProcess
from CondDiffusionUADLib.run.EngineLaunch import slicersPythonLaunch
from CondDiffusionUADLib.run.Folders import moduleFolder, resource
from CondDiffusionUADLib.run.InstallTexts import InstallListener
from CondDiffusionUADLib.run.Problems import Problem
from CondDiffusionUADLib.run.WorkerProcess import LineBuffer, readEvent

_MODULE = "CondDiffusionUADLib.run.BuildEnvironment"
_PATIENCE_MS = 1500  # to tidy up, when Slicer quits
_ANSWER_MS = 2500  # for the process to say what came of a cancel


class Nobody:
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


Told = Callable[["InstallJob"], None]


class InstallJob:
    """One run of the process.

    Args:
        listener: Is told how it goes.
        order: What is to be done, beside what is the same for all.
        decided: Called when it is known how it ended, before the listener is told.
        over: Called when the process is gone.
    """

    def __init__(self, listener: InstallListener, order: Mapping[str, Any], decided: Told, over: Told) -> None:
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
            later(lambda: self._end(problem))
            return
        try:
            self._process.start()
        except OSError as error:
            problem = Problems.fromError(error)
            later(lambda: self._end(problem))
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
        self._listener = Nobody()
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
            listener, self._listener = self._listener, Nobody()
            self._decided(self)
            listener.onInstalled(problem)


def later(call: Callable[[], None]) -> None:
    """Call it when the events that are due are done."""
    qt.QTimer.singleShot(0, call)
