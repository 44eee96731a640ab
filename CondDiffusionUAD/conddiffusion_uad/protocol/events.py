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
        "resample": 0.9,
        "check": 0.9,
        "reconstruct": 25.0,
        "score": 0.2,
        "restore": 1.0,
        "findings": 0.4,
        "report": 2.2,
    }
)
"""The stages of a detection in order, with the seconds each typically takes for a 1 mm volume on two CPU cores."""

_TRUST = 0.1  # share of the whole for which an estimate counts as if it had been seen
_SETTING_UP = ("read", "load")  # how long these take, tells nothing of the others
_QUICKEST = 0.5  # pace that is believed
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
        self._known: tuple[float, float] | None = None  # when the estimate was made, and what it says was done by then
        self._settled: tuple[float, float] | None = None  # the same of the end of `_SETTING_UP`
        self._last_emitted = -math.inf
        self._fraction = 0.0
        self._name = self._names[0]

    def stage(self, name: str) -> None:
        """Enter the stage `name`. Raises Cancelled, and ValueError for a name that is not among the stages."""
        self._check()
        index = self._names.index(name) + 1
        self._name = name
        if self._settled is None and name not in _SETTING_UP:
            self._settled = self._clock(), self._before(name)
        self._emit({"event": "stage", "name": name, "index": index, "total": len(self._names)})
        self._report(0.0, always=True)

    def advance(self, fraction: float) -> None:
        """Report the fraction (0..1) done of the current stage. Raises Cancelled."""
        self._check()
        self._report(fraction, always=fraction >= 1.0)

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Emit the estimate, and go by these seconds from now on. They are of the same stages; this one is over."""
        self._stages = {name: max(seconds[name], 1e-3) for name in self._names}
        self._total = sum(self._stages.values())
        done, now = self._before(self._name) + self._stages[self._name], self._clock()
        self._known = (now, done)
        self._emit({"event": "estimate", "seconds": round(max(now - self._begin, 0.0) + self._total - done, 1)})

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
        self._fraction = max(self._fraction, done / self._total)
        self._last_emitted = now
        self._emit(
            {"event": "progress", "fraction": round(self._fraction, 4), "eta_s": self._remaining(now, done)},
        )

    def _before(self, name: str) -> float:
        """The typical seconds of the stages before one."""
        return sum(self._stages[other] for other in self._names[: self._names.index(name)])

    def _remaining(self, now: float, done: float) -> float | None:
        """Seconds left: the typical seconds of what is left, scaled by how fast this computer has been.

        After an estimate, how fast it has been since then counts the more, the more has been done since. Without one,
        nothing is said before half of the work is done. Stages that were done ahead pass in no time, others will not.
        Of the end, which is short, nothing is said.
        """
        if self._total - done < _END * self._total:
            return None
        if self._known is not None:
            (since, of), trust = self._known, _TRUST * self._total
        elif self._settled is not None and done >= self._total / 2 and done > self._settled[1]:
            (since, of), trust = self._settled, 0.0
        else:
            return None
        pace = (max(now - since, 0.0) + trust) / (max(done - of, 0.0) + trust)  # a clock may jump
        return round((self._total - done) * max(pace, _QUICKEST), 1)


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
