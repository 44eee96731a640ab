"""What was measured in one changed scan, as it is kept on disk: everything else is computed from these trials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from conddiffusion_uad.evaluation.cases import Case
from conddiffusion_uad.evaluation.record import FOLDER

CLEAN = "none"
"""The change of the scan as it is."""


@dataclass(frozen=True)
class Figures:
    """How a method did on a changed scan, next to what it did on the scan as it was.

    Attributes:
        average_precision: Of the raw map; None without lesion.
        flagged_fraction: Share of the healthy brain at or above the label-free threshold; None without healthy brain.
        flagged_ml: Volume of all findings.
        correlation: Of the scores with those of the scan as it was, over the brain; None where either is constant.
        difference: Mean absolute difference from these scores over the brain.
        dice: Of the findings with those of the scan as it was; None when both have none.
    """

    average_precision: float | None
    flagged_fraction: float | None
    flagged_ml: float
    correlation: float | None
    difference: float
    dice: float | None


@dataclass(frozen=True)
class Trial:
    """What was measured in one changed scan.

    Attributes:
        id: Of the case.
        patient: Who is shown.
        dataset: What the case belongs to.
        contrast: "T1", "T2" or "FLAIR".
        labeled: Whether the case has a truth.
        change: One of `CORRUPTIONS` or `GEOMETRIC_CHANGES`, or :data:`CLEAN`.
        severity: 1 to 5; 0 for a change that has no degrees.
        applies: False when the change leaves this scan as it is, such as thin slices; then nothing is measured.
        refused: Code of the failure that ended the run; None when there was none.
        warnings: Codes of what the run warned of.
        seconds: Of the run.
        histogram_kl: Divergence of the reconstruction's intensities from the changed scan's; None without a result.
        methods: By name; empty without a result.
    """

    id: str
    patient: str
    dataset: str
    contrast: str
    labeled: bool
    change: str
    severity: int
    applies: bool = True
    refused: str | None = None
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    histogram_kl: float | None = None
    methods: Mapping[str, Figures] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Trial:
        """Raises TypeError or KeyError when the values are no trial."""
        return cls(**{**values, "methods": {name: Figures(**figures) for name, figures in values["methods"].items()}})


def save(file: Path, trial: Trial) -> None:
    """Write a trial in one move, so that what can be read is whole. Raises OSError."""
    partial = file.with_name(f"{file.name}.part")
    partial.write_text(json.dumps(asdict(trial), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(file)


def load(file: Path) -> Trial | None:
    """A trial; None when there is none that is whole."""
    try:
        return Trial.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def load_all(folder: Path) -> list[Trial]:
    """All trials of an evaluation, by their files' names."""
    found = (load(file) for file in sorted((folder / FOLDER).glob("*.json")))
    return [trial for trial in found if trial]


def trial_file(folder: Path, case: Case, change: str, severity: int) -> Path:
    """Where a trial is kept."""
    degree = f"-{severity}" if severity else ""
    return folder / FOLDER / f"{case.id}+{change.replace(' ', '_')}{degree}.json"
