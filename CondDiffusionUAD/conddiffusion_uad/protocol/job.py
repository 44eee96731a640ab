"""A request to look for anomalies, with every option checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeGuard

from conddiffusion_uad.protocol.expected_findings import MOST_BOUNDED
from conddiffusion_uad.protocol.failures import BadInput, shown

CONTRASTS = ("T1", "T2", "FLAIR")

DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,2})?")

PRECISIONS = ("auto", "fp32", "bf16")

MOST_VOLUME_ML = 10_000.0  # no head is larger

MOST_EXPECTED = 1000.0  # findings in a healthy brain

USUAL_BUNDLE = "learned"
"""The shipped bundle that examines a scan when none is named."""

USUAL_FLAGGED = 0.01
"""Share of healthy tissue that the threshold may flag where a bundle promises no number of findings."""


_PLACES = ("inputs", "output", "bundle", "device", "force")


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
        healthy_flagged: Fraction of healthy tissue that the threshold may flag, in (0, 1); None to go by findings.
        expected_findings: False findings that may be expected in a healthy brain, which decides the threshold: above 0
            to `MOST_EXPECTED`. None, with no `healthy_flagged` either, for `expected_findings.USUAL` (the least
            that the bundle promises where that is more), or for `USUAL_FLAGGED` of the tissue where it promises none.
        bounded: The bound of the expected findings decides, which holds however few healthy brains were counted, not
            their mean. `expected_findings` is given, and below `expected_findings.MOST_BOUNDED`, then.
        min_volume_ml: Smallest volume of a finding in ml, 0 to `MOST_VOLUME_ML`.
        skull: "auto", "on" (the skull is there: strip it) or "off" (already stripped: leave it alone).
        seed: Seed of the noise.
        batch: Slices computed at once, 1 to 1024; it is halved when the memory does not suffice.
        precision: "auto" (what the processor is fastest in), "fp32" or "bf16": number format of the network.
        uncertainty: Also write how far the samples of the reconstruction leave the score open.
        location_prior: Take off the score what the bundle knows to be marked often in healthy brains, place by place.
        force: Replace results that are already in the output folder.
        accept_any_scan: Examine also a scan that the input gate would refuse, or that leaves something doubtful, such
            as how it lies in the patient.
        series: Which of several DICOM series in a folder: its number, description or UID; None when there is one.
        echo: Which of several stacks in a series (echo, frame type, repetition): its number in the list that the
            refusal shows; None when there is one.
    """

    inputs: tuple[str, ...]
    output: str
    bundle: str = USUAL_BUNDLE
    contrast: str = "auto"
    device: str = "auto"
    levels: tuple[int, ...] | None = None
    healthy_flagged: float | None = None
    expected_findings: float | None = None
    bounded: bool = False
    min_volume_ml: float = 0.05
    skull: str = "auto"
    seed: int = 0
    batch: int = 16
    precision: str = "auto"
    uncertainty: bool = False
    location_prior: bool = True
    force: bool = False
    accept_any_scan: bool = False
    series: str | None = None
    echo: str | None = None

    def __post_init__(self) -> None:
        """Check every option. Raises BadInput("bad_option")."""
        for name, (accepted, accepts) in _OPTIONS.items():
            value = getattr(self, name)
            if not accepts(value):
                option = "INPUT" if name == "inputs" else "--" + name.replace("_", "-")
                given = ",".join(map(str, value)) if isinstance(value, tuple) else value
                raise BadInput("bad_option", f"{option} cannot be {shown(given)}.", f"Accepted: {accepted}.")
        if self.healthy_flagged is not None and self.expected_findings is not None:
            raise BadInput(
                "bad_option",
                "--healthy-flagged and --expected-findings both decide the threshold.",
                "Accepted: one of them.",
            )
        if self.bounded and self.healthy_flagged is not None:
            raise BadInput(
                "bad_option",
                "--bounded is about findings, and --healthy-flagged decides without them.",
                "Accepted: one of them.",
            )
        if self.bounded and (self.expected_findings is None or self.expected_findings >= MOST_BOUNDED):
            raise BadInput(
                "bad_option",
                f"--bounded needs --expected-findings below {MOST_BOUNDED:g}: a scan with more counts as so many.",
                f"Accepted: --bounded with --expected-findings below {MOST_BOUNDED:g}.",
            )

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """The names of the options that decide the result; the others say where things are and what computes."""
        return tuple(field.name for field in fields(cls) if field.name not in _PLACES)

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
        return cls(**frozen)  # type: ignore[arg-type]  # the options are checked by the class itself


def is_number(value: object, low: float, high: float) -> bool:
    """Whether this is a number from `low` to `high`; also of a whole number that is too large for a float."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _is_share(value: object) -> bool:
    return is_number(value, 0, 1) and value not in (0, 1)


def are_levels(value: object) -> bool:
    """Whether these are noise levels: a tuple of different whole numbers from 1 to 1000, at least one."""
    return isinstance(value, tuple) and bool(value) and _are_distinct(value)


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value)


def _is_path(value: object) -> bool:
    """Whether every library can be given it: text, not empty, that UTF-8 can hold, without a zero byte."""
    try:
        return _is_text(value) and b"\0" not in value.encode("utf-8")
    except UnicodeEncodeError:
        return False


def _is_integer(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _are_distinct(levels: tuple[object, ...]) -> bool:
    return all(_is_integer(level, 1, 1000) for level in levels) and len(set(levels)) == len(levels)


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
    "healthy_flagged": ("a fraction between 0 and 1, such as 0.01", lambda v: v is None or _is_share(v)),
    "expected_findings": (
        f"a number above 0, at most {MOST_EXPECTED:.0f}, such as 1",
        lambda v: v is None or (is_number(v, 0, MOST_EXPECTED) and v != 0),
    ),
    "bounded": ("true or false", lambda v: isinstance(v, bool)),
    "min_volume_ml": (f"a volume in ml, 0 to {MOST_VOLUME_ML:.0f}", lambda v: is_number(v, 0, MOST_VOLUME_ML)),
    "skull": ("auto, on, off", lambda v: v in ("auto", "on", "off")),
    "seed": ("a whole number from 0 to 2147483647", lambda v: _is_integer(v, 0, 2**31 - 1)),
    "batch": ("a whole number from 1 to 1024", lambda v: _is_integer(v, 1, 1024)),
    "precision": (", ".join(PRECISIONS), lambda v: v in PRECISIONS),
    "uncertainty": ("true or false", lambda v: isinstance(v, bool)),
    "location_prior": ("true or false", lambda v: isinstance(v, bool)),
    "force": ("true or false", lambda v: isinstance(v, bool)),
    "accept_any_scan": ("true or false", lambda v: isinstance(v, bool)),
    "series": ("the number, description or UID of a DICOM series", lambda v: v is None or _is_path(v)),
    "echo": ("the number of a stack of images, such as 1", lambda v: v is None or _is_path(v)),
}
