"""Scans of which only is known whether they are sick, with nothing outlined: weak labels, from a table.

The table is a CSV file with the columns ``scan`` (a path below the folder of the scans) and ``sick`` (0 or 1). Healthy
and sick scans should come from the same scanners: otherwise those are what is learned to be told apart.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.io import contrast as contrasts
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.measures.severity import scan_features
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.run import require_contrast
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.preparation import prepare
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import BadInput, Failure
from conddiffusion_uad.training.data.data_checks import Problem, leave_out

COLUMNS = ("scan", "sick")
LEAST = 3  # scans of a kind
HELD_OUT = 3  # one of so many scans of a kind is not learned from


def read_weak_labels(
    table: Path, folder: Path, log: Callable[[str], None], *, skip_bad: bool = False
) -> dict[Path, bool]:
    """Whether each scan of a table is sick.

    Args:
        table: The CSV file.
        folder: Of the scans.
        log: Told which lines are left out.
        skip_bad: Whether to go on without lines that are wrong.

    Raises:
        BadInput: ``bad_labels`` when it is no such table; ``bad_training_data`` with a list of all that is wrong with
            its lines; ``too_few_scans`` when a kind has less than :data:`LEAST`.
    """
    rows = rows_of(table, COLUMNS)
    labels: dict[Path, bool] = {}
    problems = []
    for row in rows:
        file, sick = folder / (row["scan"] or ""), (row["sick"] or "").strip()
        if not file.is_file():
            problems.append(Problem(file, "The table names it, and it is not there."))
        elif sick not in ("0", "1"):
            problems.append(Problem(file, f"Its label is {sick!r}.", "It is 0 (healthy) or 1 (sick)."))
        elif labels.setdefault(file, sick == "1") != (sick == "1"):
            problems.append(Problem(file, "It is healthy in one line and sick in another."))
    leave_out(problems, "training", log, skip_bad=skip_bad)
    _require_both(list(labels.values()))
    return labels


def rows_of(table: Path, columns: Sequence[str]) -> list[dict[str, str | None]]:
    """The lines of a CSV table with some columns, at least one.

    Raises:
        BadInput: ``bad_labels`` when it cannot be read, or lacks a column or lines.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows: list[dict[str, str | None]] = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput("bad_labels", f"{table} cannot be read: {error}.", "Give a CSV file.") from error
    if not rows or not set(columns) <= set(rows[0]):
        raise BadInput(
            "bad_labels", f"{table} has no columns {' and '.join(columns)}.", "Write them in its first line."
        )
    return rows


def _require_both(sick: Sequence[bool]) -> None:
    for name, kind in (("healthy", False), ("sick", True)):
        if (count := sick.count(kind)) < LEAST:
            message = f"There are {count} {name} scans that can be used."
            raise BadInput("too_few_scans", message, f"Give {LEAST} or more of each kind.")


def weak_pairs(
    bundle: Bundle, labels: Mapping[Path, bool], contrast: str, log: Callable[[str], None], *, skip_bad: bool = False
) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[tuple[np.ndarray, np.ndarray]]]:
    """Features of the slices of scans, as ``training.severity`` takes them: (healthy, sick) of each, one of them empty.

    Args:
        bundle: Whose encoder looks at them.
        labels: Whether each scan is sick.
        contrast: Of the scans, or "auto".
        log: Told how far it is.
        skip_bad: Whether to go on without scans that cannot be used.

    Returns:
        Those to learn from, and every third of each kind, in the order of their names, to judge by.

    Raises:
        BadInput: ``bad_training_data``, with a list of what is wrong with the scans; ``too_few_scans`` when less than
            :data:`LEAST` of a kind can be used.
    """
    pairs: tuple[list[tuple[np.ndarray, np.ndarray]], list[tuple[np.ndarray, np.ndarray]]] = ([], [])
    problems: list[Problem] = []
    seen: list[bool] = []
    for number, (file, sick) in enumerate(sorted(labels.items())):
        log(f"Preparing {file.name} ({number + 1} of {len(labels)})")
        try:
            features = _features(file, contrast, bundle)
        except Failure as error:
            problems.append(Problem(file, error.message, error.hint))
            continue
        seen.append(sick)
        nothing = features[:0]
        pairs[seen.count(sick) % HELD_OUT == 0].append((nothing, features) if sick else (features, nothing))
    leave_out(problems, "training", log, skip_bad=skip_bad)
    _require_both(seen)
    return pairs


def _features(file: Path, contrast: str, bundle: Bundle) -> np.ndarray:
    scan = volumes.read(file)
    chosen = contrasts.choose(contrast, str(file), scan)
    require_contrast(bundle, chosen)
    prepared = prepare(scan, grid=bundle.config.grid, atlas=atlas.load(), device=bundle.model.device, progress=Quiet())
    brain = Volume(prepared.volume, prepared.mask, prepared.grid)
    features: np.ndarray = (
        scan_features(Restored(brain, chosen, brain.volume[None], 1), bundle.model).double().cpu().numpy()
    )
    return features
