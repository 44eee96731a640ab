"""From the trials of changed scans to files: robustness.csv, robustness.json, robustness.html, and Markdown."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from conddiffusion_uad.evaluation import experiment
from conddiffusion_uad.evaluation.record import MODEL
from conddiffusion_uad.evaluation.reporting import html_page, plots
from conddiffusion_uad.evaluation.reporting.formatting import UNKNOWN, number, percent
from conddiffusion_uad.evaluation.reporting.markdown import cell, markdown
from conddiffusion_uad.evaluation.robustness import tables
from conddiffusion_uad.evaluation.robustness.plots import curves
from conddiffusion_uad.evaluation.robustness.record import CLEAN, Trial, load_all
from conddiffusion_uad.evaluation.robustness.summary import FIGURES, summarize
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.protocol.failures import BadInput

RESULTS, SUMMARY, REPORT = "robustness.csv", "robustness.json", "robustness.html"
READING = (
    "Each scan was corrupted on its own grid, then read, prepared and scored like any other. It is judged on the grid, "
    "inside the brain and against the truth of the scan as it is: what a corrupted scan loses of the brain counts as "
    "not flagged. The random pattern of a corruption is the same at all its severities; only its strength grows. "
    "Corruptions are simulated on magnitude images, after whatever the scanner did; real ones differ."
)

Values = Mapping[str, Any]


def report(folder: Path) -> str:
    """Write the three files about what has been tried.

    Returns:
        The headline, as lines of text.

    Raises:
        BadInput: ``no_cases`` when every scan failed.
        Failure: matplotlib is missing.
        OutputFailure: A file cannot be written.
    """
    trials = load_all(folder)
    about = experiment.description(folder) or {}
    if not trials:
        reasons = "; ".join(f"{failed['id']}: {failed['message']}" for failed in about.get("failures", [])[:3])
        raise BadInput("no_cases", f"No scan could be evaluated. {reasons}", "Correct what is wrong, then go on.")
    summary = summarize(trials)
    text = page(about, summary)
    with as_output_failure(folder):
        write_results(trials, folder / RESULTS)
        (folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        (folder / REPORT).write_text(text, encoding="utf-8")
    return "\n".join([*(_headline(group) for group in summary["groups"]), str(folder / REPORT)])


def write_results(trials: Sequence[Trial], path: Path) -> None:
    """Write one row for each trial and method; a trial without a result has one row without method.

    Raises:
        OSError: The file cannot be written.
    """
    own = [field.name for field in fields(Trial) if field.name != "methods"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*own, "method", *FIGURES], restval="", extrasaction="ignore")
        writer.writeheader()
        for trial in trials:
            values = {**asdict(trial), "warnings": " ".join(trial.warnings)}
            rows = [{"method": name, **asdict(figures)} for name, figures in trial.methods.items()]
            writer.writerows({**values, **row} for row in rows or [{}])


def page(about: Values, summary: Values) -> str:
    """The report as a self-contained HTML page.

    Args:
        about: evaluation.json; "bundle", "command", "date" and "failures" are shown as far as they are there.
        summary: See :func:`summarize`.

    Raises:
        Failure: matplotlib is missing.
    """
    bundle = about.get("bundle") or {}
    name = f"{bundle.get('name', UNKNOWN)} (SHA-256 {bundle.get('sha256', UNKNOWN)})"
    rows = [("Model bundle", name), ("Command", str(about.get("command", ""))), ("Date", str(about.get("date", "")))]
    parts = [html_page.table(("", ""), rows, words=True), html_page.paragraph(READING)]
    for group in summary["groups"]:
        parts += [html_page.heading(tables.heading(group), 2), *_curves(group)]
        for what, table in tables.all_of(group):
            parts += [html_page.heading(what, 3), html_page.table(table.heads, table.rows, caption=table.caption)]
    failures = [(each["id"], each["code"], each["message"]) for each in about.get("failures", ())]
    if failures:
        parts += [html_page.heading("Failures", 2), html_page.table(("Scan", "Code", "Why"), failures, words=True)]
    return html_page.page("Robustness of anomaly detection", parts)


def markdown_parts(summary: Values) -> list[str]:
    """The tables of all data sets in Markdown, without pictures: a part of a larger document."""
    parts = []
    for group in summary["groups"]:
        parts.append(f"### {cell(tables.heading(group))}")
        for what, table in tables.all_of(group):
            parts += [f"#### {what}", *markdown(table)]
    return parts


def _curves(group: Values) -> list[str]:
    if not any(each["level"] is not None for each in group["changes"]) or MODEL not in group["methods"]:
        return []
    picture = html_page.svg_picture(curves(group), f"{tables.heading(group)}: figures by the level of each corruption")
    caption = "A ring is the scan as it is, a cross at the top a level at which scans were refused."
    legend = html_page.legend(plots.styles(group["methods"], MODEL))
    return [legend, html_page.block("strips", [picture]), html_page.paragraph(caption, "note")]


def _headline(group: Values) -> str:
    """What the most harmful changes do to a data set."""
    lines = [tables.heading(group)]
    lines += _extreme(group, "average_precision", "lowest average precision", number, lowest=True)
    lines += _extreme(group, "flagged_fraction", "most of the healthy brain flagged", percent, lowest=False)
    return "\n".join(lines)


def _extreme(group: Values, figure: str, name: str, form: Any, *, lowest: bool) -> Iterator[str]:
    def value(change: Values) -> float | None:
        return change["methods"].get(MODEL, {}).get(figure, {}).get("mean")

    known = [change for change in group["changes"] if value(change) is not None]
    if known:
        worst = (min if lowest else max)(known, key=value)
        what = "as it is" if worst["change"] == CLEAN else f"{worst['change']} {worst['severity'] or ''}".strip()
        clean = tables.entry(group, CLEAN)
        yield f"    {name}: {form(value(worst))} ({what}); as it is {form(value(clean) if clean else None)}"
