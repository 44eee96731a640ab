"""Write docs/RESULTS.md.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/results_document.py DIR... --output docs/RESULTS.md

Each DIR is the output of an evaluation; what is written comes from its evaluation.json and summary.json alone. Figures
of the two protocols have sections of their own and never share a table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markdown_tables import escaped, markdown
from published import BEHRENDT_2023, Published

from conddiffusion_uad.evaluation.experiment import DESCRIPTION, SUMMARY
from conddiffusion_uad.evaluation.reporting import shifts, tables
from conddiffusion_uad.evaluation.reporting.page import PROTOCOLS
from conddiffusion_uad.evaluation.reporting.table import Table
from conddiffusion_uad.evaluation.reporting.tables import READING
from conddiffusion_uad.evaluation.settings import PUBLISHED
from conddiffusion_uad.protocol.failures import RESEARCH_USE, BadInput, Failure, OutputFailure

Values = Mapping[str, Any]

COMMAND = "PYTHONPATH=CondDiffusionUAD python Testing/studies/results_document.py"
MARK = "<!-- Written by `results_document.py`. Do not edit: the next run overwrites it. -->"
HEADER = f"""# Results

{MARK}

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
        parts += _asked(about)
        parts += markdown(tables.published(figures)) if about["protocol"] == PUBLISHED else _native(figures)
    parts += ["## How this file is made", _code(f"{COMMAND} {' '.join(folders)} --output {output}")]
    parts += _published(BEHRENDT_2023)
    return "\n\n".join(parts) + "\n"


def _asked(about: Values) -> list[str]:
    """The heading of an evaluation, what was asked, and how to ask it again."""
    names = ", ".join(dict.fromkeys(bundle["name"] for bundle in about["bundles"]))
    parts = [f"## {escaped(names)}, protocol: {about['protocol']}"]
    parts.append(f"Protocol: {PROTOCOLS[about['protocol']]}.")
    parts += [f"Bundle {escaped(bundle['name'])}, SHA-256 `{bundle['sha256']}`." for bundle in about["bundles"]]
    return [*parts, "To reproduce:", _code("\n".join(about["commands"]))]


def _native(summary: Values) -> list[str]:
    main, parts = summary["main"], []
    for group in summary["groups"]:
        parts += [f"### {escaped(tables.title(group))}", f"{tables.size(group)}."]
        parts += [part for table in tables.of_group(group, main) for part in markdown(table)]
        if changed := markdown(shifts.table(group)):
            parts += ["#### Changed scans", *changed]
    parts.append("### Reconstruction, time and memory")
    return [*parts, *markdown(tables.fidelity(summary)), *markdown(tables.cost(summary))]


def _code(text: str) -> str:
    return f"```\n{text}\n```"


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
        about, figures = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (DESCRIPTION, SUMMARY))
        return about, figures
    except (OSError, ValueError) as error:
        raise BadInput(
            "no_evaluation",
            f"There is no finished evaluation in {folder}.",
            "Give the folder that 'conddiffusion-uad evaluate' wrote to.",
        ) from error


def write(folders: Sequence[Path], output: Path) -> None:
    """Write the document about the evaluations in some folders; another file of that name stays.

    Raises:
        BadInput, OutputFailure.
    """
    if output.exists() and MARK not in output.read_text(encoding="utf-8", errors="replace"):
        raise OutputFailure("output_exists", f"{output} is no such document, and stays.", "Choose another --output.")
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
