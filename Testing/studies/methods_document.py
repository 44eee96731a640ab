"""Write docs/METHODS.md: what a method can be made of, and how the recipes compare.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/methods_document.py [FIGURES]

Parts, recipes and papers come from the docstrings of the code, the table from the figures that ``methods_rows.py``
measured and that lie beside this script; given a file, its figures take their place there. A test fails when the
document is not what this script writes.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from methods_rows import SHIPPED, rows

from conddiffusion_uad.evaluation.record import MODEL
from conddiffusion_uad.training import catalogue

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "METHODS.md"
TEXTS = HERE / "methods_texts"
FIGURES = HERE / "methods_figures.json"


def document() -> str:
    """The text of docs/METHODS.md."""
    figures = json.loads(FIGURES.read_text("utf-8")) if FIGURES.is_file() else {}
    parts = [_text("begin"), *_parts(), "## Recipes\n", *_recipes(), _text("ideas"), *_table(figures), _text("papers")]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _parts() -> Iterator[str]:
    for key, lines in catalogue.parts().items():
        cells = [f"| `{line.name}` | {_cell(line.text)} | {line.paper} |" for line in lines]
        yield "\n".join([f"### `{key}`\n", "| kind | what it is | paper |", "|---|---|---|", *cells])


def _recipes() -> Iterator[str]:
    cells = [f"| `{line.name}` | {_cell(line.text)} |" for line in catalogue.shipped_recipes()]
    yield "\n".join(["| recipe | what it is |", "|---|---|", *cells])


def _table(figures: Mapping[str, Any]) -> Iterator[str]:
    yield _text("table")
    missing = [row for row in rows() if row not in figures]
    if not figures:
        yield "**No figure has been measured yet**, so nothing is said here of how the recipes compare."
    if missing:
        yield f"Not measured yet: {', '.join(f'`{row}`' for row in missing)}."
    if not figures:
        return
    first = figures[SHIPPED[0]]["groups"]
    yield "### Average precision\n\n" + _grid(figures, [each for each in first if each["prevalence"]], _precision)
    yield "### Healthy scans\n\n" + _grid(figures, [each for each in first if each["healthy_scans"]], _healthy)
    yield "### Cost\n\n" + _costs(figures)


def _grid(figures: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], cell: Callable[[Mapping], str]) -> str:
    """A row for each bundle and baseline, a column for each of these data sets and contrasts."""
    lines = [["", *(f"{each['dataset']} {each['contrast']} ({each['scans']})" for each in groups)]]
    lines.append(["---"] * len(lines[0]))
    prevalence = [_number(each["prevalence"], ".3f") for each in groups]
    lines += [["*share of the brain that is lesion*", *prevalence]] if any(prevalence) else []
    for row, of in figures.items():
        known = {(each["dataset"], each["contrast"]): each["methods"] for each in of["groups"]}
        for name in of["groups"][0]["methods"]:
            cells = [cell(known[each["dataset"], each["contrast"]][name]) for each in groups]
            lines.append([f"`{row}`" if name == MODEL else name, *cells])
    return _rendered(lines)


def _precision(judged: Mapping[str, Any]) -> str:
    return _number(judged["average_precision"], ".3f")


def _healthy(judged: Mapping[str, Any]) -> str:
    return f"{_number(judged['findings'], '.1f')} ({_number(judged['flagged'], '.2%')})"


def _costs(figures: Mapping[str, Any]) -> str:
    """What a detection with each bundle takes."""
    lines = [["", "slices learned from", "parameters", "seconds of a detection", "memory, MB"], ["---"] * 5]
    for row, of in figures.items():
        cost = [_number(of["seconds"], ".1f"), _number(of["peak_memory_mb"], ".0f")]
        lines.append([f"`{row}`", _number(of["samples"], ",d"), f"{of['parameters'] / 1e6:.2f} M", *cost])
    return _rendered(lines)


def _rendered(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _text(name: str) -> str:
    return (TEXTS / f"{name}.md").read_text("utf-8")


def main() -> None:
    """Write the document, with other figures if they are given."""
    if len(sys.argv) > 1:
        shutil.copyfile(sys.argv[1], FIGURES)
    DOCUMENT.write_text(document(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
