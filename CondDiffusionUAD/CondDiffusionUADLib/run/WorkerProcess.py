"""The engine's worker as a child process: kept warm between jobs, canceled within three seconds, never left behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from conddiffusion_uad.protocol.events import decode, encode
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import is_number
from CondDiffusionUADLib.run.ChildProcess import ChildProcess, Launch
from CondDiffusionUADLib.run.Steps import timer

_MOST_LOG = 256 * 1024  # characters
_MOST_LINE = 64 * 1024  # bytes; events are far shorter
_MOST_SECONDS = 1e9  # that a run can be said to take


class LineBuffer:
    """Puts lines together from pieces that may end anywhere, also within a character.

    Of a line that does not end only the beginning is kept.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete now, without their ends."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_MOST_LINE]
        return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]

    def rest(self) -> list[str]:
        """The last line, if it did not end."""
        line, self._rest = self._rest, b""
        return [line.decode("utf-8", "replace")] if line else []


def readEvent(line: str) -> dict[str, Any] | None:
    """The event on a line of the worker's standard output; None when it is something else."""
    try:
        event = decode(line)
    except BadInput:
        return None
    kind = event.get("event")
    if kind == "progress":
        left = event.get("eta_s")
        known = is_number(event.get("fraction"), 0, 1) and (left is None or is_number(left, 0, _MOST_SECONDS))
        return event if known else None
    return event if isinstance(kind, str) else None


class Log:
    """The last lines that were logged."""

    def __init__(self, most: int = _MOST_LOG) -> None:
        self._most = most
        self._lines: list[str] = []
        self._size = 0

    def add(self, line: str) -> None:
        """Add a line; the oldest ones leave when there is too much."""
        self._lines.append(line)
        self._size += len(line) + 1
        while self._size > self._most and len(self._lines) > 1:
            self._size -= len(self._lines.pop(0)) + 1

    def text(self) -> str:
        """All lines."""
        return "\n".join(self._lines)


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
        try:
            self._process.start()
        except OSError:  # no room for its folder: the next order begins anew
            self._process = None
            raise

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
