"""From the records of an evaluation to its files: results.csv, summary.json, report.html."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from conddiffusion_uad.evaluation import experiment, record
from conddiffusion_uad.evaluation.reporting import html_report, tables
from conddiffusion_uad.evaluation.reporting.results_table import write_results
from conddiffusion_uad.evaluation.reporting.summary import summarize
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.protocol.failures import BadInput

RESULTS, SUMMARY, REPORT = "results.csv", "summary.json", "report.html"


def report(folder: Path) -> str:
    """Write the three files about what has been evaluated.

    Returns:
        The headline, as lines of text.

    Raises:
        BadInput: ``no_cases`` when every case failed.
        OutputFailure: A file cannot be written.
    """
    records = record.load_all(folder)
    about = experiment.description(folder) or {}
    if not records:
        reasons = "; ".join(f"{failed['id']}: {failed['message']}" for failed in about.get("failures", [])[:3])
        raise BadInput("no_cases", f"No case could be evaluated. {reasons}", "Correct what is wrong, then go on.")
    values = [each.to_json() for each in records]
    summary = summarize(values, partial(record.load_counts, folder))
    page = html_report.build(about, values, summary, lambda identifier: _picture(folder, identifier))
    with as_output_failure(folder):
        write_results(records, folder / RESULTS)
        (folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        (folder / REPORT).write_text(page, encoding="utf-8")
    return _headline(summary, about, folder)


def _picture(folder: Path, identifier: str) -> bytes | None:
    file = record.picture_file(folder, identifier)
    return file.read_bytes() if file.is_file() else None


def _headline(summary: Mapping[str, Any], about: Mapping[str, Any], folder: Path) -> str:
    table = tables.headline(summary)
    lines = []
    for row in table.rows:
        lines += [row[0], *(f"    {head}: {cell}" for head, cell in zip(table.heads[1:], row[1:], strict=True))]
    for group in summary["groups"]:
        if group["healthy_scans"]:
            flagged = group["methods"][summary["main"]]["healthy"]["flagged_fraction"]["mean"]
            lines.append(f"{tables.title(group)}, healthy: {flagged:.2%} of the brain flagged")
    if failures := about.get("failures"):
        lines.append(f"{len(failures)} of the cases failed; the report names them.")
    return "\n".join([*lines, str(folder / REPORT)])
