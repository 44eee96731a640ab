"""What was measured in one case, as it is kept on disk: everything else is computed from these records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conddiffusion_uad.evaluation.metrics.score_counts import BINS, ScoreCounts

MODEL = "model"
FOLDER = "cases"


@dataclass(frozen=True)
class MethodRecord:
    """How one method did in one case, inside the brain, on the scan's own grid. None: not defined there.

    Attributes:
        average_precision: Of the raw map; None without lesion.
        auroc: The same.
        dice: Of the findings at the threshold that needs no labels, small ones removed; None without lesion.
        oracle_dice: At the threshold that is best for this very case; None without lesion.
        oracle_threshold: That threshold, a value of the raw map.
        flagged_fraction: Share of the healthy brain voxels above the threshold that needs no labels.
        flagged_ml: Volume of all findings.
        false_findings: Number of findings that touch no lesion.
        false_ml: Their volume.
        surface_dice: Of findings and lesion; None when either is empty.
        hausdorff95_mm: The same.
        lesions: A mapping for each lesion: ``ml``, ``peak`` (score), ``detected``, ``iou``.
        froc: A mapping for each threshold: ``threshold`` (score), ``false_findings``, ``detected`` (lesions).
        slices: For each axial slice with brain, its highest score and whether it holds lesion.
    """

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


@dataclass(frozen=True)
class Record:
    """What was measured in one case.

    Attributes:
        id: Of the case; names its files.
        patient: Who is shown; scans of one patient are not independent.
        dataset: What the case belongs to.
        contrast: "T1", "T2" or "FLAIR".
        labeled: Whether the case has a truth, even one without lesion; False for healthy scans.
        dimensions: 3, or 2 for a single slice.
        voxel_ml: Of the grid that it is judged on.
        brain_ml: Volume of the brain.
        lesion_ml: Volume of lesion inside the brain.
        prevalence: Share of the brain that is lesion: the average precision of a random score.
        reconstruction: The fields of :class:`conddiffusion_uad.evaluation.metrics.fidelity.Fidelity`; None without one.
        seconds: Of each part of the run.
        peak_memory_mb: The most that the process has held; None where that is not known.
        notes: What is to be known about this case, in sentences.
        methods: What each method did, by its name.
    """

    id: str
    patient: str
    dataset: str
    contrast: str
    labeled: bool
    dimensions: int
    voxel_ml: float
    brain_ml: float
    lesion_ml: float
    prevalence: float
    reconstruction: Mapping[str, float | None] | None
    seconds: Mapping[str, float]
    peak_memory_mb: float | None
    notes: list[str]
    methods: Mapping[str, MethodRecord]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Record:
        """Raises TypeError or KeyError when the values are no record."""
        methods = {name: MethodRecord(**method) for name, method in values["methods"].items()}
        return cls(**{**values, "methods": methods})


def save(folder: Path, record: Record, counts: Mapping[str, ScoreCounts]) -> None:
    """Write a record and its counts; the record last and in one move, so that what can be read is whole.

    Args:
        folder: Of the evaluation.
        record: What was measured.
        counts: Of the raw map of each method.

    Raises:
        OSError: It cannot be written.
    """
    place = folder / FOLDER / record.id
    arrays = {f"{name}/{part}": getattr(each, part) for name, each in counts.items() for part in ("healthy", "lesion")}
    np.savez_compressed(_counts_file(place), **arrays)
    partial = place.with_name(f"{place.name}.part")
    partial.write_text(json.dumps(record.to_json(), indent=1) + "\n", encoding="utf-8")
    partial.replace(_record_file(place))


def load(folder: Path, identifier: str) -> Record | None:
    """The record of a case; None when there is none that is whole."""
    try:
        text = _record_file(folder / FOLDER / identifier).read_text(encoding="utf-8")
        return Record.from_json(json.loads(text))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def load_all(folder: Path) -> list[Record]:
    """The records of an evaluation, by their ids."""
    found = (load(folder, file.stem) for file in sorted((folder / FOLDER).glob("*.json")))
    return [record for record in found if record]


def load_counts(folder: Path, identifier: str, method: str) -> ScoreCounts:
    """The counts of a method in a case.

    Raises:
        OSError: They cannot be read.
        KeyError: The case has no such method.
        ValueError: They are damaged.
    """
    with np.load(_counts_file(folder / FOLDER / identifier)) as stored:
        counts = ScoreCounts(stored[f"{method}/healthy"], stored[f"{method}/lesion"])
    if counts.healthy.shape != (BINS,) or counts.lesion.shape != (BINS,):
        raise ValueError(f"The counts of {identifier} are damaged.")
    return counts


def picture_file(folder: Path, identifier: str) -> Path:
    """Where the picture of a case is, or would be."""
    return _with(folder / FOLDER / identifier, ".png")


def _record_file(place: Path) -> Path:
    return _with(place, ".json")


def _counts_file(place: Path) -> Path:
    return _with(place, ".npz")


def _with(place: Path, suffix: str) -> Path:
    """An id may hold dots, so that `Path.with_suffix` would cut it."""
    return place.with_name(place.name + suffix)
