"""What was measured in one scan, as it is kept on disk: everything else is computed from these records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conddiffusion_uad.evaluation.metrics.score_counts import ScoreCounts
from conddiffusion_uad.evaluation.shifts import CLEAN

MODEL = "model"
FOLDER = "cases"
_PARTS = ("scores", "healthy", "lesion")
_SUFFIXES = (".json", ".npz", ".png")


@dataclass(frozen=True)
class MethodRecord:
    """How one method did in one scan, inside the brain, on the scan's own grid. None: not defined there.

    Attributes:
        threshold: The smallest score of a finding; no label has chosen it.
        average_precision: Of the raw map; None without lesion.
        auroc: The same.
        dice: Of the findings at the threshold that needs no labels, small ones removed; None without lesion.
        oracle_dice: At the threshold that is best for this very scan; None without lesion.
        oracle_threshold: That threshold, a value of the raw map.
        flagged_fraction: Share of the healthy brain voxels above the threshold that needs no labels.
        flagged_ml: Volume of all findings.
        false_findings: Number of findings that touch no lesion.
        false_ml: Their volume.
        surface_dice: Of findings and lesion; None when either is empty.
        hausdorff95_mm: The same.
        lesions: See :func:`conddiffusion_uad.evaluation.metrics.lesions.lesions`.
        froc: See :func:`conddiffusion_uad.evaluation.metrics.lesions.froc_points`.
        slices: For each axial slice with brain, its highest score and whether it holds lesion.
        correlation: Of the scores with those of the scan as it is, over the brain; None where either is constant, and
            where scans were not changed.
        difference: Mean absolute difference from these scores over the brain.
        doses: Of each implanted lesion ``diameter_mm``, ``contrast``, ``ml``, ``peak`` (its highest score), ``found``
            (whether a finding has a voxel in it) and ``without`` (whether one had before it was there).
        agreement: Dice coefficient of the findings and those of the scan as it is; None when both have none.
    """

    threshold: float
    average_precision: float | None
    auroc: float | None
    dice: float | None
    oracle_dice: float | None
    oracle_threshold: float | None
    flagged_fraction: float
    flagged_ml: float
    false_findings: int
    false_ml: float
    surface_dice: float | None
    hausdorff95_mm: float | None
    lesions: list[Mapping[str, Any]]
    froc: list[Mapping[str, Any]]
    slices: list[tuple[float, bool]]
    correlation: float | None = None
    difference: float | None = None
    agreement: float | None = None
    doses: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Record:
    """What was measured in one scan, as it is or changed.

    Attributes:
        id: Names its files.
        case: Id of the case.
        patient: Who is shown; scans of one patient are not independent.
        dataset: What the case belongs to.
        contrast: "T1", "T2" or "FLAIR".
        labeled: Whether the case has a truth, even one without lesion; False for healthy scans.
        thin: Whether it shows only a few millimeters of a head, such as a single slice.
        corruption: What was done to the scan, or :data:`CLEAN`.
        severity: 1 to 5, or the round of implanted lesions; 0 for what has no degrees.
        bundle: Position of the bundle among those asked for, from 0.
        applies: False when the corruption leaves this scan as it is, such as thin slices; then nothing is measured.
        refused: Code of the failure that ended the run of a changed scan; None when there was none.
        warnings: Codes of what the run warned of.
        device, precision: What computed, and in which number format; empty without a network.
        voxel_ml: Of the grid that it is judged on.
        brain_ml: Volume of the brain.
        lesion_ml: Volume of lesion inside the brain.
        prevalence: Share of the brain that is lesion: the average precision of a random score.
        reconstruction: See :func:`conddiffusion_uad.evaluation.metrics.fidelity.fidelity`; None without one.
        seconds: Of each part of the run.
        peak_memory_mb: The most that the process has held; None where that is not known.
        attacks: See :func:`conddiffusion_uad.evaluation.shifts.adversarial.worst_cases`; of such a trial only.
        notes: What is to be known about this scan, in sentences.
        methods: What each method did, by its name; empty without a result.
    """

    id: str
    case: str
    patient: str
    dataset: str
    contrast: str
    labeled: bool
    thin: bool = False
    corruption: str = CLEAN
    severity: int = 0
    bundle: int = 0
    applies: bool = True
    refused: str | None = None
    warnings: list[str] = field(default_factory=list)
    device: str = ""
    precision: str = ""
    voxel_ml: float | None = None
    brain_ml: float | None = None
    lesion_ml: float | None = None
    prevalence: float | None = None
    reconstruction: Mapping[str, float | None] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory_mb: float | None = None
    attacks: list[Mapping[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    methods: Mapping[str, MethodRecord] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Record:
        """Raises TypeError or KeyError when the values are no record."""
        methods = {name: MethodRecord(**method) for name, method in values["methods"].items()}
        return cls(**{**values, "methods": methods})


def save(folder: Path, record: Record, arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Write a record and its arrays; the record last and in one move, so that what can be read is whole.

    Raises:
        OSError: They cannot be written.
    """
    if arrays:
        np.savez_compressed(file_of(folder, record.id, ".npz"), **arrays)
    partial = file_of(folder, record.id, ".part")
    partial.write_text(json.dumps(record.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(file_of(folder, record.id, ".json"))


def load(folder: Path, identifier: str) -> Record | None:
    """A record by its id; None when there is none that is whole."""
    try:
        record = Record.from_json(json.loads(file_of(folder, identifier, ".json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return record if record.id == identifier else None


def load_all(folder: Path) -> list[Record]:
    """The records of an evaluation, by their ids."""
    found = (load(folder, file.stem) for file in sorted((folder / FOLDER).glob("*.json")))
    return [record for record in found if record]


def remove_all(folder: Path) -> None:
    """Remove the records of an evaluation and what :func:`save` and the gallery wrote with them; other files stay."""
    for record in load_all(folder):
        for suffix in _SUFFIXES:
            file_of(folder, record.id, suffix).unlink(missing_ok=True)


def count_arrays(counts: Mapping[str, ScoreCounts]) -> dict[str, np.ndarray]:
    """The counts of each method as arrays that :func:`load_counts` reads."""
    return {f"{name}/{part}": getattr(each, part) for name, each in counts.items() for part in _PARTS}


def load_counts(folder: Path, identifier: str, method: str) -> ScoreCounts:
    """The counts of a method in a scan. Raises OSError, or KeyError when the scan has no such method."""
    with np.load(file_of(folder, identifier, ".npz")) as stored:
        return ScoreCounts(*(stored[f"{method}/{part}"] for part in _PARTS))


def file_of(folder: Path, identifier: str, suffix: str) -> Path:
    """Where a file about a scan is, or would be; an id may hold dots, so that `Path.with_suffix` would cut it."""
    return folder / FOLDER / f"{identifier}{suffix}"
