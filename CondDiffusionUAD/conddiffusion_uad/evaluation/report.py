"""From the records of an evaluation to its files: results.csv, summary.json, report.html, dose_response.csv."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from conddiffusion_uad.evaluation import record as records
from conddiffusion_uad.evaluation.experiment import DOSES, REPORT, RESULTS, SUMMARY, description
from conddiffusion_uad.evaluation.protocols import published
from conddiffusion_uad.evaluation.record import MethodRecord, Record
from conddiffusion_uad.evaluation.reporting import doses, shifts, tables
from conddiffusion_uad.evaluation.reporting.page import page
from conddiffusion_uad.evaluation.reporting.summary import summarize
from conddiffusion_uad.evaluation.reporting.table import Table, write_csv
from conddiffusion_uad.evaluation.settings import PUBLISHED
from conddiffusion_uad.evaluation.shifts import CLEAN
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.protocol.failures import BadInput

_OF_SCAN = [
    f.name for f in fields(Record) if f.name not in ("reconstruction", "seconds", "attacks", "notes", "methods")
]
_OF_METHOD = [f.name for f in fields(MethodRecord) if f.name not in ("lesions", "froc", "slices", "doses")]


def report(folder: Path) -> str:
    """Write the files about what has been evaluated.

    Returns:
        The headline, as lines of text.

    Raises:
        BadInput: ``no_cases`` when every scan failed.
        Failure: matplotlib or Jinja2 is missing.
        OutputFailure: A file cannot be written.
    """
    found = records.load_all(folder)
    about = description(folder) or {}
    if not any(record.corruption == CLEAN for record in found):
        reasons = "; ".join(f"{failed['id']}: {failed['message']}" for failed in about.get("failures", [])[:3])
        raise BadInput("no_cases", f"No scan could be evaluated. {reasons}", "Correct what is wrong, then go on.")
    if about.get("protocol") == PUBLISHED:
        summary = published.summarize(found, partial(_volume, folder), about["options"]["seed"])
    else:
        summary = summarize(found, partial(records.load_counts, folder))
    text = page(about, found, summary, partial(_picture, folder))
    with as_output_failure(folder):
        write_results(found, folder / RESULTS)
        if implanted := list(doses.rows(summary)):
            write_csv(implanted, doses.COLUMNS, folder / DOSES)
        (folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        (folder / REPORT).write_text(text, encoding="utf-8")
    return "\n".join([*_headline(summary, about), str(folder / REPORT)])


def write_results(found: Sequence[Record], path: Path) -> None:
    """Write a row for each record as comma-separated values; what is not defined stays empty.

    A method's columns are named after it: ``model.dice``. Lists (lesions, curves) are in the records only, but for
    the numbers of lesions and of those detected.

    Raises:
        OSError: The file cannot be written.
    """
    rows = [dict(_row(record)) for record in found]
    write_csv(rows, dict.fromkeys(column for row in rows for column in row), path)


def _row(record: Record) -> Iterator[tuple[str, Any]]:
    for name in _OF_SCAN:
        value = getattr(record, name)
        yield name, " ".join(value) if isinstance(value, list) else value
    yield from ((f"reconstruction.{name}", value) for name, value in (record.reconstruction or {}).items())
    yield from ((f"seconds.{name}", round(value, 2)) for name, value in record.seconds.items())
    for method, values in record.methods.items():
        yield from ((f"{method}.{name}", getattr(values, name)) for name in _OF_METHOD)
        yield f"{method}.lesions", len(values.lesions)
        yield f"{method}.lesions_detected", sum(bool(lesion["detected"]) for lesion in values.lesions)
    yield "notes", " ".join(record.notes)


def _volume(folder: Path, record: Record) -> published.Volume:
    with np.load(records.file_of(folder, record.id, ".npz")) as stored:
        return published.Volume(record.patient, stored["residual"].astype(np.float32), stored["truth"])


def _picture(folder: Path, identifier: str) -> bytes | None:
    file = records.file_of(folder, identifier, ".png")
    return file.read_bytes() if file.is_file() else None


def _headline(summary: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    if about.get("protocol") == PUBLISHED:
        yield from _lines(tables.published(summary))
    else:
        yield from _lines(tables.headline(summary))
        yield from _lines(tables.healthy_headline(summary))
        for group in summary["groups"]:
            if group["shifts"]:
                yield from (f"{tables.title(group)}, changed scans", *shifts.worst(group))
    if failures := about.get("failures"):
        yield f"{len(failures)} of the scans failed; the report names them."


def _lines(table: Table) -> Iterator[str]:
    """A table for a terminal: the first cell of each row, and the others below it with their heads."""
    for row in table.rows:
        yield row[0]
        yield from (f"    {head}: {cell}" for head, cell in zip(table.heads[1:], row[1:], strict=True))
