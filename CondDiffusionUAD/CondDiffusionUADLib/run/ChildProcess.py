"""A program that runs beside Slicer: started, listened to and let go of in one way for all of them.

It starts in an empty folder of its own, by its absolute path, and with the environment that Slicer itself was started
with: nothing that lies in Slicer's current folder, and none of the variables that Slicer sets for its own Python, may
decide what it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import qt
import slicer

from CondDiffusionUADLib.run.Folders import PrivateFolder


@dataclass(frozen=True)
class Launch:
    """How to start a program.

    Attributes:
        program: Its absolute path.
        arguments: For it.
        environment: Variables beside those that Slicer was started with.
    """

    program: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class ChildProcess:
    """One process, from its start to its end.

    Args:
        launch: What to start.
        ended: Called once when it is gone: whether it could be started at all, and its exit code, -1 after a crash.
        output: Receives the bytes of its standard output.
        log: Receives the bytes of its standard error; None to send them to `output` too.
    """

    def __init__(
        self,
        launch: Launch,
        ended: Callable[[bool, int], None],
        output: Callable[[bytes], None],
        log: Callable[[bytes], None] | None = None,
    ) -> None:
        self._launch = launch
        self._ended = ended
        self._output = output
        self._log = log
        self._folder: PrivateFolder | None = None
        self._process: Any = None

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self._process is not None

    @property
    def processId(self) -> int:
        """Its number; 0 when it is not there."""
        return int(self._process.processId()) if self._process else 0

    def start(self) -> None:
        """Start it. Raises OSError when there is no room for a folder of its own."""
        self._folder = PrivateFolder(slicer.app.temporaryPath)
        process = qt.QProcess()
        process.setProcessEnvironment(_environment(self._launch.environment))
        process.setWorkingDirectory(str(self._folder.path))
        if self._log is None:
            process.setProcessChannelMode(qt.QProcess.MergedChannels)
        # By signature: in Qt 5 "finished" has two, and an attribute gives the one that is sent first.
        process.connect("readyReadStandardOutput()", self._onOutput)
        process.connect("readyReadStandardError()", self._onLog)
        process.connect("finished(int,QProcess::ExitStatus)", self._onFinished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._onError)
        self._process = process
        process.start(self._launch.program, list(self._launch.arguments))

    def write(self, data: bytes) -> None:
        """Write to its standard input."""
        if self._process is not None:
            self._process.write(qt.QByteArray(data))

    def closeInput(self) -> None:
        """End its standard input."""
        if self._process is not None:
            self._process.closeWriteChannel()

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End it by force."""
        if self._process is not None:
            self._process.kill()

    def waitForEnd(self, milliseconds: int) -> bool:
        """Wait for its end; whether it came. `ended` is called meanwhile."""
        process = self._process
        return process is None or process.state() == qt.QProcess.NotRunning or process.waitForFinished(milliseconds)

    def abandon(self) -> None:
        """End it by force, at once; `ended` is not called."""
        self._ended = lambda started, code: None
        self.kill()
        self.waitForEnd(1000)
        self._letGo()

    def _onOutput(self) -> None:
        if self._process is not None:
            self._output(self._process.readAllStandardOutput().data())

    def _onLog(self) -> None:
        if self._process is not None and self._log is not None:
            self._log(self._process.readAllStandardError().data())

    def _onFinished(self, *_: Any) -> None:
        process = self._process
        if process is None:
            return
        self._onOutput()
        self._onLog()
        crashed = process.exitStatus() == qt.QProcess.CrashExit
        code = -1 if crashed else int(process.exitCode())
        self._letGo()
        self._ended(True, code)

    def _onError(self, error: Any) -> None:
        # Every other error is followed by "finished".
        if self._process is not None and error == qt.QProcess.FailedToStart:
            self._letGo()
            self._ended(False, -1)

    def _letGo(self) -> None:
        """Give up the process and its folder.

        This may be called from a signal of the process. PythonQt frees it with the last reference to it, and Qt would
        go on with freed memory; so a timer keeps it until the signal is over.
        """
        process, self._process = self._process, None
        if process is not None:
            qt.QTimer.singleShot(0, lambda kept=process: kept.deleteLater())
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.remove()


def _environment(more: Mapping[str, str]) -> Any:
    """What Slicer was started with, without any variable of Python's, and these."""
    environment = slicer.app.startupEnvironment()
    for name in environment.keys():  # noqa: SIM118 (no mapping, but a QProcessEnvironment)
        if str(name).upper().startswith("PYTHON"):
            environment.remove(name)
    for name, value in {"PYTHONSAFEPATH": "1", **more}.items():
        environment.insert(name, value)
    return environment
