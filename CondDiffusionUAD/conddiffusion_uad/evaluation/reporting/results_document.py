"""Writes docs/RESULTS.md: `python -m conddiffusion_uad.evaluation.reporting.results_document DIR... --output FILE`.

Each DIR is the output of an evaluation; what is written comes from its evaluation.json and summary.json alone, or
paper.json for the published protocol. Figures of the two protocols have sections of their own and never share a table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conddiffusion_uad.evaluation.reporting import tables
from conddiffusion_uad.evaluation.reporting.html_report import PROTOCOLS, READING
from conddiffusion_uad.evaluation.reporting.markdown import cell, markdown
from conddiffusion_uad.evaluation.reporting.published import BEHRENDT_2023, Published
from conddiffusion_uad.evaluation.reporting.tables import Table
from conddiffusion_uad.protocol.failures import RESEARCH_USE, BadInput, Failure, OutputFailure

Values = Mapping[str, Any]

FIGURES = {"paper": "paper.json", "robustness": "robustness.json"}
"""The file with the figures, by the protocol that evaluation.json names; summary.json for any other."""

COMMAND = "python -m conddiffusion_uad.evaluation.reporting.results_document"
HEADER = f"""# Results

<!-- Written by `{COMMAND}`. Do not edit: the next run overwrites it. -->

This file is written by a command, from the records of evaluations; nobody typed a figure. **{RESEARCH_USE}.**"""


def document(evaluations: Sequence[tuple[Values, Values]], folders: Sequence[str], output: str) -> str:
    """The whole document in Markdown.

    Args:
        evaluations: evaluation.json of each, and its figures.
        folders: What the user called them, to say how the document is made.
        output: What the user called the document.
    """
    parts = [HEADER, READING]
    for about, figures in evaluations:
        parts += _asked(about, figures)
        parts += _PARTS.get(about.get("protocol"), _native)(figures)
    parts += ["## How this file is made", _code(f"{COMMAND} {' '.join(folders)} --output {output}")]
    parts += _published(BEHRENDT_2023)
    return "\n\n".join(parts) + "\n"


def _asked(about: Values, figures: Values) -> list[str]:
    """The heading of an evaluation, what was asked, and how to ask it again."""
    bundles = about.get("bundles") or [bundle for bundle in (about.get("bundle"),) if bundle]
    names = ", ".join(dict.fromkeys(bundle["name"] for bundle in bundles)) or figures["main"]
    protocol = about.get("protocol", "unknown")
    parts = [f"## {cell(names)}, protocol: {protocol}"]
    if protocol in PROTOCOLS:
        parts.append(f"Protocol: {PROTOCOLS[protocol]}.")
    parts += [f"Bundle {cell(bundle['name'])}, SHA-256 `{bundle['sha256']}`." for bundle in bundles]
    if about.get("command"):
        parts += ["To reproduce:", _code(about["command"])]
    return parts


def _paper(figures: Values) -> list[str]:
    from conddiffusion_uad.evaluation.paper import report  # takes seconds

    return markdown(report.table(figures))


def _robustness(figures: Values) -> list[str]:
    from conddiffusion_uad.evaluation.robustness import report  # takes seconds

    return report.markdown_parts(figures)


def _native(summary: Values) -> list[str]:
    main = summary["main"]
    parts = []
    for group in summary["groups"]:
        parts.append(f"### {cell(tables.title(group))}")
        parts.append(f"{tables.size(group)}.")
        if group["labeled_scans"]:
            for make in (tables.separation, tables.segmentation, tables.lesions):
                parts += markdown(make(group, main))
        if group["healthy_scans"]:
            parts += markdown(tables.healthy(group, main))
    parts.append("### Reconstruction, time and memory")
    return [*parts, *markdown(tables.fidelity(summary)), *markdown(tables.cost(summary))]


def _code(text: str) -> str:
    return f"```\n{text}\n```"


_PARTS = {"paper": _paper, "robustness": _robustness}


def _published(published: Published) -> list[str]:
    table = Table(("Method", *published.data), published.rows)
    return [
        "---",
        "## For reference: published figures, another protocol",
        f"{published.source}. {published.note}",
        *markdown(table),
    ]


def read(folder: Path) -> tuple[Values, Values]:
    """evaluation.json of an evaluation, and its figures. Raises BadInput("no_evaluation") when they are not there."""
    try:
        about = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        figures = folder / FIGURES.get(about.get("protocol"), "summary.json")
        return about, json.loads(figures.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            "no_evaluation",
            f"There is no finished evaluation in {folder}.",
            "Give the folder that 'conddiffusion-uad evaluate' wrote to.",
        ) from error


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
