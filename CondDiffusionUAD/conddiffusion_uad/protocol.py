"""What the engine and its callers say to each other: jobs, events, failures, exit codes. Standard library only.

What crosses the pipe between Slicer and the worker, and what `--json` prints, is one JSON object a line:

    {"event": "stage", "name": "register", "index": 4, "total": 13}
    {"event": "estimate", "seconds": 95.0}
    {"event": "progress", "fraction": 0.31, "eta_s": 52.0}
    {"event": "warning" | "error", "code": "...", "message": "...", "hint": "..."}
    {"event": "done", "report": "/path/report.json"}
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar
from typing import Protocol as Interface

EXIT_DONE = 0
EXIT_UNFORESEEN = 1
EXIT_BAD_INPUT = 2
EXIT_DEVICE = 3
EXIT_BUNDLE = 4
EXIT_OUTPUT = 5
EXIT_CANCELLED = 130

RESEARCH_USE = "Research use only, not a medical device"

CONTRASTS = ("T1", "T2", "FLAIR")
DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,2})?")
PRECISIONS = ("auto", "fp32", "bf16")
MOST_VOLUME_ML = 10_000.0  # no head is larger
_MOST_TOLD = 1000  # letters of a message

STAGES: Mapping[str, float] = MappingProxyType(
    {
        "read": 0.5,
        "load": 5.0,
        "orient": 0.2,
        "strip": 10.0,
        "register": 5.0,
        "bias": 5.0,
        "normalize": 0.2,
        "resample": 2.5,
        "check": 1.0,
        "reconstruct": 25.0,
        "score": 0.2,
        "restore": 1.5,
        "findings": 0.3,
        "report": 3.0,
    }
)
"""The stages of a detection in order, with the seconds each typically takes for a 1 mm volume on two CPU cores."""

Event = dict[str, Any]
Emit = Callable[[Event], None]


class Failure(Exception):  # noqa: N818 (these are told to people, not bugs)
    """An expected failure, told to the user as one clear sentence and a hint.

    Args:
        code: Stable, machine-readable name, such as "file_not_found".
        message: One sentence saying what is wrong; what it quotes, such as a file name, may hold anything.
        hint: What to do about it; may be empty.
        items: What the message lists; each gets a line of its own.
    """

    exit_code: ClassVar[int] = EXIT_UNFORESEEN

    def __init__(self, code: str, message: str, hint: str = "", items: Iterable[str] = ()) -> None:
        self.code = code
        self.message = "\n".join(map(printable, (message, *items)))
        self.hint = printable(hint)
        super().__init__(self.message)

    def event(self) -> Event:
        """This failure as an error event."""
        return {"event": "error", "code": self.code, "message": self.message, "hint": self.hint}


class BadInput(Failure):
    """The scan or an option cannot be used."""

    exit_code = EXIT_BAD_INPUT


class DeviceFailure(Failure):
    """The computing device is missing, or its memory does not suffice."""

    exit_code = EXIT_DEVICE


class BundleFailure(Failure):
    """The model bundle is missing, damaged or not acceptable."""

    exit_code = EXIT_BUNDLE


class OutputFailure(Failure):
    """The results cannot be written."""

    exit_code = EXIT_OUTPUT


class Cancelled(Failure):
    """The user, or the program that started the run, asked for its end."""

    exit_code = EXIT_CANCELLED

    def __init__(self, code: str = "cancelled", message: str = "The run was cancelled.", hint: str = "") -> None:
        super().__init__(code, message, hint)


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
        self._last_emitted = -math.inf
        self._fraction = 0.0
        self._name = self._names[0]

    def stage(self, name: str) -> None:
        """Enter the stage `name`. Raises Cancelled, and ValueError for a name that is not among the stages."""
        self._check()
        index = self._names.index(name) + 1
        self._name = name
        self._emit({"event": "stage", "name": name, "index": index, "total": len(self._names)})
        self._report(0.0, always=True)

    def advance(self, fraction: float) -> None:
        """Report the fraction (0..1) done of the current stage. Raises Cancelled."""
        self._check()
        self._report(fraction, always=fraction >= 1.0)

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Emit the estimate, and go by these seconds from now on. They are of the same stages."""
        self._stages = {name: max(seconds[name], 1e-3) for name in self._names}
        self._total = sum(self._stages.values())
        self._emit({"event": "estimate", "seconds": round(self._total, 1)})

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
        before = sum(self._stages[name] for name in self._names[: self._names.index(self._name)])
        done = (before + self._stages[self._name] * min(max(within, 0.0), 1.0)) / self._total
        self._fraction = max(self._fraction, done)
        self._last_emitted = now
        self._emit({"event": "progress", "fraction": round(self._fraction, 4), "eta_s": self._remaining(now)})

    def _remaining(self, now: float) -> float:
        """Seconds left: the typical seconds of what is left, scaled by how fast this computer has been so far."""
        typical = self._total * self._fraction
        pace = max(now - self._begin, 0.0) / typical if typical > 0 else 1.0  # a clock may jump
        return round(self._total * (1.0 - self._fraction) * pace, 1)


@dataclass(frozen=True)
class DetectionJob:
    """One request to look for anomalies; the same for the command line, the worker and Slicer.

    Attributes:
        inputs: Paths of scans (NIfTI, NRRD, MHA) or DICOM folders.
        output: Folder for the results; with several inputs, one folder inside it for each.
        bundle: Name of a shipped model bundle, or the path of one.
        contrast: "auto" or one of `CONTRASTS`.
        device: "auto", "cpu", "mps", "cuda" or "cuda:N".
        levels: Noise levels (time steps, 1 to 1000) to average over; None for the bundle's own.
        healthy_flagged: Fraction of healthy tissue that the threshold may flag, in (0, 1).
        min_volume_ml: Smallest volume of a finding in ml, 0 to `MOST_VOLUME_ML`.
        skull: "auto", "on" (the skull is there: strip it) or "off" (already stripped: leave it alone).
        seed: Seed of the noise.
        batch: Slices computed at once, 1 to 1024; it is halved when the memory does not suffice.
        precision: "auto" (what the processor is fastest in), "fp32" or "bf16": number format of the network.
        force: Replace results that are already in the output folder.
        accept_any_scan: Examine also a scan that the input gate would refuse.
    """

    inputs: tuple[str, ...]
    output: str
    bundle: str = "default"
    contrast: str = "auto"
    device: str = "auto"
    levels: tuple[int, ...] | None = None
    healthy_flagged: float = 0.01
    min_volume_ml: float = 0.05
    skull: str = "auto"
    seed: int = 0
    batch: int = 16
    precision: str = "auto"
    force: bool = False
    accept_any_scan: bool = False

    def __post_init__(self) -> None:
        """Check every option. Raises BadInput("bad_option")."""
        for name, (accepted, accepts) in _OPTIONS.items():
            value = getattr(self, name)
            if not accepts(value):
                option = "--" + name.replace("_", "-")
                raise BadInput("bad_option", f"{option} cannot be {shown(value)}.", f"Accepted: {accepted}.")

    def to_json(self) -> dict[str, Any]:
        """The job as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DetectionJob:
        """The job from plain JSON values. Raises BadInput("bad_option")."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            accepted = ", ".join(sorted(known))
            raise BadInput("bad_option", f"There is no option {shown(unknown[0])}.", f"Accepted: {accepted}.")
        if missing := sorted({"inputs", "output"} - set(values)):
            raise BadInput("bad_option", f"The job lacks {missing[0]!r}.", "A job needs inputs and output.")
        frozen = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**frozen)


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


def printable(text: str) -> str:
    """A line without control characters, for they could rule a terminal; the middle of a long one goes.

    File names may hold line ends, escape sequences and bytes that are no text.
    """
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    half = _MOST_TOLD // 2
    return plain if len(plain) <= _MOST_TOLD else f"{plain[:half]} ... {plain[-half:]}"


def shown(value: object) -> str:
    """A value as it is told to a person: on one line, printable and not long."""
    text = ascii(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def is_number(value: object, low: float, high: float) -> bool:
    """Whether this is a number from `low` to `high`; also of a whole number that is too large for a float."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_path(value: object) -> bool:
    """Whether every library can be given it: text that UTF-8 can hold, without a zero byte."""
    try:
        return _is_text(value) and b"\0" not in value.encode("utf-8")
    except UnicodeEncodeError:
        return False


def _is_integer(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _are_distinct(levels: tuple[object, ...]) -> bool:
    return all(_is_integer(level, 1, 1000) for level in levels) and len(set(levels)) == len(levels)


def are_levels(value: object) -> bool:
    """Whether these are noise levels: a tuple of different whole numbers from 1 to 1000, at least one."""
    return isinstance(value, tuple) and bool(value) and _are_distinct(value)


_OPTIONS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "inputs": (
        "one path or more, each of valid text; rename what is not",
        lambda v: isinstance(v, tuple) and bool(v) and all(map(_is_path, v)),
    ),
    "output": ("the path of a folder", _is_path),
    "bundle": ("the name or the path of a bundle", _is_path),
    "contrast": ("auto, T1, T2, FLAIR", lambda v: v == "auto" or v in CONTRASTS),
    "device": ("auto, cpu, mps, cuda, cuda:N", lambda v: _is_text(v) and bool(DEVICE.fullmatch(v))),
    "levels": ("different time steps from 1 to 1000, such as 250,500,750", lambda v: v is None or are_levels(v)),
    "healthy_flagged": ("a fraction between 0 and 1, such as 0.01", lambda v: is_number(v, 0, 1) and v not in (0, 1)),
    "min_volume_ml": (f"a volume in ml, 0 to {MOST_VOLUME_ML:.0f}", lambda v: is_number(v, 0, MOST_VOLUME_ML)),
    "skull": ("auto, on, off", lambda v: v in ("auto", "on", "off")),
    "seed": ("a whole number from 0 to 2147483647", lambda v: _is_integer(v, 0, 2**31 - 1)),
    "batch": ("a whole number from 1 to 1024", lambda v: _is_integer(v, 1, 1024)),
    "precision": (", ".join(PRECISIONS), lambda v: v in PRECISIONS),
    "force": ("true or false", lambda v: isinstance(v, bool)),
    "accept_any_scan": ("true or false", lambda v: isinstance(v, bool)),
}
