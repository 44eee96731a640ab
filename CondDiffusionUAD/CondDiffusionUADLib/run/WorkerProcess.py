"""The engine's worker as a child process: kept warm between jobs, canceled within three seconds, never left behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from conddiffusion_uad.protocol.events import encode
from CondDiffusionUADLib.run.ChildProcess import ChildProcess, Launch
from CondDiffusionUADLib.run.Timers import timer
from CondDiffusionUADLib.run.WorkerMessages import LineBuffer, readEvent

# The cancel ladder. In all less than the three seconds that a user is promised.
ANSWER_MS = 1300  # for the answer to "cancel", until its input is closed, which ends it at once
CLOSED_MS = 700  # until it is terminated
TERMINATED_MS = 500  # until it is killed


class WorkerListener(Protocol):
    """Who is told what the worker does."""

    def onEvent(self, event: dict[str, Any]) -> None:
        """The worker sent an event."""

    def onLog(self, line: str) -> None:
        """The worker logged a line."""

    def onEnded(self, started: bool, exitCode: int) -> None:
        """The process is gone; `started` is False when it could not be started at all."""


class WorkerProcess:
    """One worker at a time, started when it is needed.

    Args:
        launch: Tells how to start it, each time anew.
        listener: Is told what it does.
    """

    def __init__(self, launch: Callable[[], Launch], listener: WorkerListener) -> None:
        self._launch = launch
        self._listener = listener
        self._process: ChildProcess | None = None
        self._closing = False
        self._stdout, self._stderr = LineBuffer(), LineBuffer()
        self._ladder: list[tuple[int, Callable[[], None]]] = []
        self._timer = timer(self._climb)

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    @property
    def processId(self) -> int:
        """The number of the process; 0 when there is none."""
        return self._process.processId if self._process else 0

    def prepare(self) -> None:
        """Wait for the end of a process that was told to end, so that the next order goes to a new one."""
        if self._closing:
            self.stopAndWait()

    def send(self, order: Mapping[str, Any]) -> None:
        """Send an order, starting the process first if there is none."""
        if self._process is None:
            self._start()
        self._write(order)

    def cancel(self, number: int) -> None:
        """Cancel a job: ask; then close the worker's input, terminate it, kill it, until it has answered or ended."""
        if self._process is None:
            return
        self._write({"job": "cancel", "id": number})
        self._ladder = [(ANSWER_MS, self._close), (CLOSED_MS, self._terminate), (TERMINATED_MS, self._kill)]
        self._timer.start(self._ladder[0][0])

    def settled(self) -> None:
        """The worker answered: it need not be ended."""
        self._ladder = []
        self._timer.stop()

    def stop(self) -> None:
        """End the worker, without waiting."""
        if self._process is not None:
            self._close()
            self._ladder = [(CLOSED_MS, self._terminate), (TERMINATED_MS, self._kill)]
            self._timer.start(self._ladder[0][0])

    def stopAndWait(self) -> None:
        """End the worker and wait until it is gone, at most three seconds: for when the application quits."""
        self.settled()
        process = self._process
        if process is None:
            return
        for end, patience in ((self._close, 1500), (self._terminate, 500), (self._kill, 1000)):
            end()
            if process.waitForEnd(patience):
                break
        process.abandon()
        self._gone()

    def _start(self) -> None:
        self._closing = False
        self._stdout, self._stderr = LineBuffer(), LineBuffer()
        self._process = ChildProcess(self._launch(), self._onEnded, self._onOutput, self._onLog)
        self._process.start()

    def _write(self, order: Mapping[str, Any]) -> None:
        if self._process is not None:
            self._process.write((encode(order) + "\n").encode("ascii"))

    def _onOutput(self, data: bytes) -> None:
        self._handle(self._stdout.feed(data))

    def _onLog(self, data: bytes) -> None:
        for line in self._stderr.feed(data):
            self._listener.onLog(line)

    def _handle(self, lines: list[str]) -> None:
        for line in lines:
            event = readEvent(line)
            if event is None:
                self._listener.onLog(line)
            else:
                self._listener.onEvent(event)

    def _onEnded(self, started: bool, code: int) -> None:
        if self._process is None:
            return
        self._handle(self._stdout.rest())
        for line in self._stderr.rest():
            self._listener.onLog(line)
        self._gone()
        self._listener.onEnded(started, code)

    def _gone(self) -> None:
        self.settled()
        self._process = None
        self._closing = False

    def _climb(self) -> None:
        self._timer.stop()
        if self._ladder:
            _, step = self._ladder.pop(0)
            step()
            if self._ladder:
                self._timer.start(self._ladder[0][0])

    def _close(self) -> None:
        if self._process is not None:
            self._closing = True
            self._process.closeInput()

    def _terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
