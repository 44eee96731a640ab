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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from methods_rows import SHIPPED, rows

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
    groups = [(of["dataset"], of["contrast"]) for of in figures[SHIPPED]["groups"]]
    for place, (dataset, contrast) in enumerate(groups):
        yield "\n".join(_of_group(figures, place, f"{dataset} {contrast}"))


def _of_group(figures: Mapping[str, Any], place: int, title: str) -> Iterator[str]:
    first = figures[SHIPPED]["groups"][place]
    prevalence = "" if first["prevalence"] is None else f", {first['prevalence']:.1%} of the brain is lesion"
    yield f"### {title}\n"
    yield f"{first['scans']} scans{prevalence}.\n"
    yield (
        "| | slices learned from | average precision | healthy scans: flagged | findings | seconds | memory, MB | "
        "parameters |"
    )
    yield "|---" * 8 + "|"
    for row, of in figures.items():
        group = of["groups"][place]
        size = f"{of['parameters'] / 1e6:.2f} M"
        cost = [_number(group["seconds"], ".1f"), _number(group["peak_memory_mb"], ".0f"), size]
        for method, judged in group["methods"].items():
            name = f"`{row}`" if method == "model" else method
            shown = [_number(judged["average_precision"], ".3f"), _number(judged["flagged"], ".2%")]
            own = cost if method == "model" else ["", "", ""]
            learned = _number(of["samples"], ",d") if method == "model" else ""
            yield f"| {' | '.join([name, learned, *shown, _number(judged['findings'], '.1f'), *own])} |"


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
