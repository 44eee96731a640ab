"""The table of all cases as comma-separated values: a row for each case."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from conddiffusion_uad.evaluation.record import MethodRecord, Record

_LISTS = ("lesions", "froc", "slices")
OF_CASE = tuple(f.name for f in fields(Record) if f.name not in ("reconstruction", "seconds", "notes", "methods"))
OF_METHOD = tuple(f.name for f in fields(MethodRecord) if f.name not in _LISTS)


def write_results(records: Sequence[Record], path: Path) -> None:
    """Write one row for each record; what is not defined stays empty.

    A method's columns are named after it: ``model.dice``. Lists (lesions, curves) are in the records only, but for
    the numbers of lesions and of those detected.

    Raises:
        OSError: The file cannot be written.
    """
    rows = [dict(_row(record)) for record in records]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _row(record: Record) -> Iterator[tuple[str, Any]]:
    for name in OF_CASE:
        yield name, getattr(record, name)
    yield from ((f"reconstruction.{name}", value) for name, value in (record.reconstruction or {}).items())
    yield from ((f"seconds.{name}", round(value, 2)) for name, value in record.seconds.items())
    for method, values in record.methods.items():
        yield from ((f"{method}.{name}", getattr(values, name)) for name in OF_METHOD)
        yield f"{method}.lesions", len(values.lesions)
        yield f"{method}.lesions_detected", sum(bool(lesion["detected"]) for lesion in values.lesions)
    yield "notes", " ".join(record.notes)
