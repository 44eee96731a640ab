"""Writes docs/RESULTS.md: `python -m conddiffusion_uad.evaluation.results_document DIR... --output docs/RESULTS.md`.

Each DIR is the output of an evaluation; what is written comes from its evaluation.json and summary.json alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conddiffusion_uad.evaluation import tables
from conddiffusion_uad.evaluation.html_report import PROTOCOLS, READING
from conddiffusion_uad.evaluation.published import BEHRENDT_2023, Published
from conddiffusion_uad.evaluation.tables import Table
from conddiffusion_uad.protocol import RESEARCH_USE, BadInput, Failure, OutputFailure

Values = Mapping[str, Any]

COMMAND = "python -m conddiffusion_uad.evaluation.results_document"
HEADER = f"""# Results

<!-- Written by `{COMMAND}`. Do not edit: the next run overwrites it. -->

This file is written by a command, from the records of evaluations; nobody typed a figure. **{RESEARCH_USE}.**"""


def document(evaluations: Sequence[tuple[Values, Values]], folders: Sequence[str], output: str) -> str:
    """The whole document in Markdown.

    Args:
        evaluations: evaluation.json and summary.json of each.
        folders: What the user called them, to say how the document is made.
        output: What the user called the document.
    """
    parts = [HEADER, READING]
    for about, summary in evaluations:
        parts += _evaluation(about, summary)
    parts += ["## How this file is made", _code(f"{COMMAND} {' '.join(folders)} --output {output}")]
    parts += _published(BEHRENDT_2023)
    return "\n\n".join(parts) + "\n"


def _evaluation(about: Values, summary: Values) -> list[str]:
    bundle, protocol = about.get("bundle") or {}, about.get("protocol", "unknown")
    main = summary["main"]
    parts = [f"## {_cell(str(bundle.get('name', main)))}, protocol: {protocol}"]
    if protocol in PROTOCOLS:
        parts.append(f"Protocol: {PROTOCOLS[protocol]}.")
    if bundle:
        parts.append(f"Bundle `{bundle['name']}`, SHA-256 `{bundle['sha256']}`.")
    if about.get("command"):
        parts += ["To reproduce:", _code(about["command"])]
    for group in summary["groups"]:
        parts.append(f"### {_cell(tables.title(group))}")
        parts.append(_size(group))
        if group["labeled_scans"]:
            for make in (tables.separation, tables.segmentation, tables.lesions):
                parts += _table(make(group, main))
        if group["healthy_scans"]:
            parts += _table(tables.healthy(group, main))
    parts.append("### Reconstruction, time and memory")
    return [*parts, *_table(tables.fidelity(summary)), *_table(tables.cost(summary))]


def _size(group: Values) -> str:
    kinds = ((group["labeled_scans"], "labeled"), (group["healthy_scans"], "healthy"))
    scans = " and ".join(tables.amount(count, f"{kind} {tables.unit(group)}") for count, kind in kinds if count)
    return f"{tables.amount(group['patients'], 'patient')}, {scans}."


def _table(values: Table) -> list[str]:
    """A Markdown table, the judged method in bold, and its caption."""
    if not values.rows:
        return []
    rows = [_row(values.heads), "|---" * len(values.heads) + "|"]
    for number, cells in enumerate(values.rows):
        rows.append(_row([f"**{_cell(cell)}**" if number == values.foremost else _cell(cell) for cell in cells]))
    return ["\n".join(rows), values.caption] if values.caption else ["\n".join(rows)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(text: str) -> str:
    """Text that means nothing to Markdown."""
    for character in "\\`*_|<>[]":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _code(text: str) -> str:
    return f"```\n{text}\n```"


def _published(published: Published) -> list[str]:
    table = Table(("Method", *published.data), published.rows)
    return [
        "---",
        "## For reference: published figures, another protocol",
        f"{published.source}. {published.note}",
        *_table(table),
    ]


def read(folder: Path) -> tuple[Values, Values]:
    """evaluation.json and summary.json of an evaluation. Raises BadInput("no_evaluation") when they are not there."""
    try:
        about, summary = (
            json.loads((folder / name).read_text(encoding="utf-8")) for name in ("evaluation.json", "summary.json")
        )
    except (OSError, ValueError) as error:
        raise BadInput(
            "no_evaluation",
            f"There is no finished evaluation in {folder}.",
            "Give the folder that 'conddiffusion-uad evaluate' wrote to.",
        ) from error
    return about, summary


def write(folders: Sequence[Path], output: Path) -> None:
    """Write the document about the evaluations in some folders. Raises BadInput and OutputFailure."""
    text = document([read(folder) for folder in folders], [str(folder) for folder in folders], str(output))
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputFailure("cannot_write", f"{output} cannot be written.", "Choose another file.") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the document; returns the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write docs/RESULTS.md from finished evaluations.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="output of 'conddiffusion-uad evaluate'")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="the document, such as docs/RESULTS.md"
    )
    options = parser.parse_args(arguments)
    try:
        write(options.folders, options.output)
    except Failure as failure:
        print(f"{failure.message} {failure.hint}", file=sys.stderr)
        return failure.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
