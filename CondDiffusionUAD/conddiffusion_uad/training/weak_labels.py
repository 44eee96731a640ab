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
from conddiffusion_uad.method.measures.severity import scan_features
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data.data_checks import Problem, leave_out
from conddiffusion_uad.training.data.loose_scans import prepared_scans

COLUMNS = ("scan", "sick")
LEAST = 3  # scans of a kind
HELD_OUT = 3  # one of so many scans of a kind is not learned from


def read_weak_labels(
    table: Path, folder: Path, log: Callable[[str], None], *, skip_bad: bool = False
) -> dict[Path, bool]:
    """Whether each scan of a table is sick.

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

    Returns:
        Those to learn from, and every third of each kind, in the order of their names, to judge by.

    Raises:
        BadInput: ``bad_training_data``, with a list of what is wrong with the scans; ``too_few_scans`` when less than
            :data:`LEAST` of a kind can be used.
    """
    pairs: tuple[list[tuple[np.ndarray, np.ndarray]], list[tuple[np.ndarray, np.ndarray]]] = ([], [])
    seen: list[bool] = []
    files = sorted(labels)
    for file, brain, chosen in prepared_scans(files, contrast, bundle, "training", log, skip_bad=skip_bad):
        found = scan_features(Restored(brain, chosen, brain.volume[None], 1), bundle.model)
        features = found.double().cpu().numpy()
        nothing, sick = features[:0], labels[file]
        seen.append(sick)
        pairs[seen.count(sick) % HELD_OUT == 0].append((nothing, features) if sick else (features, nothing))
    _require_both(seen)
    return pairs
