"""The events of a run, and what every long step reports its progress to.

What crosses the pipe between Slicer and the worker, and what `--json` prints, is one JSON object a line:

    {"event": "stage", "name": "register", "index": 4, "total": 13}
    {"event": "estimate", "seconds": 95.0}
    {"event": "progress", "fraction": 0.31, "eta_s": 52.0}      (null where nobody can tell, and at the end)
    {"event": "warning" | "error", "code": "...", "message": "...", "hint": "..."}
    {"event": "done", "report": "/path/report.json"}

The last three say "input", the path of the scan, when a job has several.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from typing import Protocol as Interface

from conddiffusion_uad.protocol.failures import BadInput, Cancelled, shown

STAGES: Mapping[str, float] = MappingProxyType(
    {
        "read": 1.0,
        "load": 5.0,
        "orient": 0.5,
        "strip": 8.0,
        "register": 2.0,
        "bias": 0.8,
        "normalize": 0.1,
        "resample": 0.8,
        "check": 0.5,
        "reconstruct": 9.0,
        "score": 0.1,
        "restore": 0.5,
        "findings": 0.3,
        "report": 1.2,
    }
)
"""The stages of a detection in order, with the seconds each typically takes for a 1 mm volume on two CPU cores."""

_PACE_FROM = "register"  # the stage that tells how fast the computer is: of those before, nobody knows what they need
_AHEAD = 0.02  # share of its seconds in which a stage passes that was done ahead
_QUICKEST = 0.8  # pace that is believed: the reconstruction, which is most of it, was tried on this computer
_END = 0.1  # share of the whole that is the end: files, and stages of no time, whose seconds nobody can tell

Event = dict[str, Any]

Emit = Callable[[Event], None]


class Progress(Interface):
    """What every long step receives, and reports to."""

    def stage(self, name: str) -> None:
        """Enter the stage `name`, one of `STAGES`. Raises Cancelled when the run was cancelled."""

    def advance(self, fraction: float) -> None:
        """Report the fraction (0..1) done of the current stage. Raises Cancelled when the run was cancelled."""

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Be told the seconds that each stage is expected to take on this computer."""

    def warning(self, code: str, message: str, hint: str = "") -> None:
        """Tell the user about something that may spoil the result, without ending the run."""


class Quiet:
    """A `Progress` that says nothing: for use as a library, and for tests."""

    def stage(self, name: str) -> None:
        """Ignored."""

    def advance(self, fraction: float) -> None:
        """Ignored."""

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Ignored."""

    def warning(self, code: str, message: str, hint: str = "") -> None:
        """Ignored."""


class EventProgress:
    """A `Progress` that emits events and ends the run when it is cancelled.

    The emitted fraction is that of the whole run and never falls.

    Args:
        emit: Receives each event.
        cancelled: Set from any thread to end the run at its next report.
        stages: Stage names in order with their typical seconds.
        clock: Seconds, monotone.
        interval: Least seconds between two progress events of one stage.
    """

    def __init__(
        self,
        emit: Emit,
        cancelled: threading.Event | None = None,
        *,
        stages: Mapping[str, float] = STAGES,
        clock: Callable[[], float] = time.monotonic,
        interval: float = 0.1,
    ) -> None:
        self._emit = emit
        self._cancelled = cancelled or threading.Event()
        self._stages = stages
        self._names = list(stages)
        self._total = sum(stages.values())
        self._clock = clock
        self._interval = interval
        self._begin = clock()
        self._expected = False  # whether the seconds of the stages are of this computer
        self._estimated = False
        self._seen: tuple[float, float] | None = None  # since when the pace is known, and what was done by then
        self._last_emitted = -math.inf
        self._fraction = 0.0
        self._done = 0.0  # typical seconds
        self._name = self._names[0]
        self._entered = self._begin

    def stage(self, name: str) -> None:
        """Enter the stage `name`. Raises Cancelled, and ValueError for a name that is not among the stages."""
        self._check()
        index, now = self._names.index(name) + 1, self._clock()
        self._learn(name, now)
        self._name, self._entered = name, now
        self._emit({"event": "stage", "name": name, "index": index, "total": len(self._names)})
        self._report(0.0, always=True)

    def advance(self, fraction: float) -> None:
        """Report the fraction (0..1) done of the current stage. Raises Cancelled."""
        self._check()
        self._report(fraction, always=fraction >= 1.0)

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Go by these seconds of the same stages from now on, and emit an estimate as soon as the pace is known."""
        self._stages = {name: max(seconds[name], 1e-3) for name in self._names}
        self._total = sum(self._stages.values())
        self._expected, self._seen = True, None

    def warning(self, code: str, message: str, hint: str = "") -> None:
        """Emit a warning event."""
        self._emit({"event": "warning", "code": code, "message": message, "hint": hint})

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled()

    def _report(self, within: float, *, always: bool) -> None:
        now = self._clock()
        if not always and abs(now - self._last_emitted) < self._interval:
            return
        done = self._before(self._name) + self._stages[self._name] * min(max(within, 0.0), 1.0)
        if done < self._done:  # something begins anew
            self._seen = (now, done) if self._seen is not None else None
        self._done = done
        self._fraction = max(self._fraction, done / self._total)
        self._last_emitted = now
        left = self._remaining(now)
        if left is not None and not self._estimated:
            self._estimated = True
            self._emit({"event": "estimate", "seconds": round(max(now - self._begin, 0.0) + left, 1)})
        self._emit({"event": "progress", "fraction": round(self._fraction, 4), "eta_s": left})

    def _before(self, name: str) -> float:
        """The typical seconds of the stages before one."""
        return sum(self._stages[other] for other in self._names[: self._names.index(name)])

    def _learn(self, name: str, now: float) -> None:
        """Begin to learn the pace with the stage `name`, or go on; what was done ahead tells nothing."""
        if self._seen is not None:
            since, of = self._seen
            if now - self._entered < _AHEAD * self._stages[self._name]:
                self._seen = since, of + self._stages[self._name]
        elif self._expected and self._names.index(name) >= self._names.index(_PACE_FROM):
            self._seen = now, self._before(name)

    def _remaining(self, now: float) -> float | None:
        """Seconds left: the expected ones of what is left, as many times as long as what was seen of this run took.

        Nothing is said before as much was seen as registration takes, and of the end, which is short.
        """
        if self._seen is None or self._total - self._done < _END * self._total:
            return None
        since, of = self._seen
        seen, taken = self._done - of, max(now - since, 0.0)  # a clock may jump
        if seen < self._stages[_PACE_FROM]:
            return None
        return round((self._total - self._done) * max(taken / seen, _QUICKEST), 1)


def encode(event: Mapping[str, Any]) -> str:
    """An event or a job as one line of JSON, ASCII only, without the line end."""
    return json.dumps(event, ensure_ascii=True, allow_nan=False)


def decode(line: str) -> dict[str, Any]:
    """The event or job on one line. Raises BadInput("bad_line") when it is not a JSON object."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadInput("bad_line", f"This is not a JSON object: {shown(line.strip())}.", "Send one JSON object a line.")
    return value
