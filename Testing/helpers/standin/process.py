"""`qt.QProcess` with the manners of PythonQt on Qt 5, where they are dangerous: see `QProcess`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

# In the order in which Qt 5 sends them.
_FINISHED = ("finished(int)", "finished(int,QProcess::ExitStatus)")
_SIGNALS = (
    *_FINISHED,
    "errorOccurred(QProcess::ProcessError)",
    "readyReadStandardOutput()",
    "readyReadStandardError()",
    "started()",
)


class QProcess:
    """A process that is freed with the last reference from Python, also in the middle of one of its signals.

    Real Qt would then go on with freed memory, and end Slicer, or not; here that is told to `sys.excepthook`, as what
    slots raise is. A signal that is an attribute is its first overload, `finished(int)`. Enumerations are numbers.
    """

    NotRunning, Starting, Running = range(3)
    NormalExit, CrashExit = range(2)
    FailedToStart, Crashed, Timedout, WriteError, ReadError, UnknownError = 0, 1, 2, 4, 3, 5
    SeparateChannels, MergedChannels = range(2)

    def __init__(self) -> None:
        self._body = _Body()

    def __getattr__(self, name: str) -> Any:
        signature = next((signature for signature in _SIGNALS if signature.startswith(name + "(")), None)
        if signature is not None:
            return _Signal(self._body, signature)
        return getattr(self._body.process, name)

    def connect(self, signature: str, slot: Callable[..., None]) -> bool:
        """Connect a signal by its signature; like PythonQt, say False to one that does not exist."""
        if signature not in _SIGNALS:
            return False
        self._body.slots[signature].append(slot)
        return True

    def setProcessChannelMode(self, mode: int) -> None:
        """Take the number of a mode."""
        self._body.process.setProcessChannelMode(QtCore.QProcess.ProcessChannelMode(mode))

    def state(self) -> int:
        """The number of the state."""
        return self._body.process.state().value

    def exitStatus(self) -> int:
        """The number of the way it ended."""
        return self._body.process.exitStatus().value

    def __del__(self) -> None:
        body = self.__dict__.get("_body")
        if body is not None:
            body.free()


class _Signal:
    def __init__(self, body: _Body, signature: str) -> None:
        self._slots = body.slots[signature]

    def connect(self, slot: Callable[..., None]) -> None:
        """Connect this overload."""
        self._slots.append(slot)


class _Body:
    """What is behind the object in Python; it never keeps that alive."""

    def __init__(self) -> None:
        self.process = QtCore.QProcess()
        self.slots: dict[str, list[Callable[..., None]]] = {signature: [] for signature in _SIGNALS}
        self._sending = 0
        self.process.finished.connect(self._finished)
        self.process.errorOccurred.connect(lambda error: self._send(_SIGNALS[2], error.value))
        self.process.readyReadStandardOutput.connect(lambda: self._send(_SIGNALS[3]))
        self.process.readyReadStandardError.connect(lambda: self._send(_SIGNALS[4]))
        self.process.started.connect(lambda: self._send(_SIGNALS[5]))

    def free(self) -> None:
        """The last reference from Python is gone."""
        if self._sending:
            error = RuntimeError("a QProcess was freed in its own signal")
            sys.excepthook(RuntimeError, error, None)
        if not shiboken6.isValid(self.process):  # deleted later, as it was asked to be
            return
        if self.process.state() != QtCore.QProcess.ProcessState.NotRunning:
            self.process.kill()
            self.process.waitForFinished(1000)
        self.slots = {signature: [] for signature in _SIGNALS}
        self.process.deleteLater()

    def _finished(self, code: int, status: Any) -> None:
        self._send(_FINISHED[0], code)
        self._send(_FINISHED[1], code, status.value)

    def _send(self, signature: str, *values: int) -> None:
        self._sending += 1
        for slot in tuple(self.slots[signature]):
            try:
                slot(*values[: _taken(slot)])
            except Exception as error:  # as in Slicer: told, and the application goes on
                sys.excepthook(type(error), error, error.__traceback__)
            del slot
        self._sending -= 1


def _taken(slot: Callable[..., None]) -> int:
    """How many arguments a slot takes: fewer than are sent will do."""
    kinds = inspect.signature(slot).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in kinds):
        return 99
    return sum(parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) for parameter in kinds)
