"""Write the tables of the studies of a learned map into the card of its bundle, each between its marks.

    PYTHONPATH=CondDiffusionUAD:Testing/studies python Testing/studies/learned_map/fill_card.py BUNDLE/docs/README.md \\
        [--cases check.jsonl] [--promise promise.jsonl] [--smallest smallest.jsonl] [--strokes EVALUATION]

What is not named stays as it is. The files are those of check_bundle.py, check_promise.py and smallest_lesion.py; the
lines of the bundle that was measured last are taken. EVALUATION is a folder that ``conddiffusion-uad evaluate`` wrote.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import check_bundle
import check_promise
import smallest_lesion
from card import insert
from kept_lines import latest
from markdown_tables import markdown

from conddiffusion_uad.evaluation.experiment import SUMMARY
from conddiffusion_uad.evaluation.reporting import tables

SAME = (("1005_t1.nii.gz", "1025_t1.nii.gz"),)  # scans of OASIS of one person


def main() -> None:
    """Fill in what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("card", type=Path)
    made = {"cases": cases, "promise": promise, "smallest": smallest, "strokes": strokes}
    for name in made:
        parser.add_argument(f"--{name}", type=Path)
    options = parser.parse_args()
    for name, text in made.items():
        if (source := getattr(options, name)) is not None:
            insert(options.card, text(source), name)


def cases(file: Path) -> str:
    """What check_bundle.py found."""
    return check_bundle.table([line for line in latest(file) if line["AP"]])


def promise(file: Path) -> str:
    """What check_promise.py found."""
    return check_promise.table(latest(file), SAME)


def smallest(file: Path) -> str:
    """What smallest_lesion.py found."""
    return smallest_lesion.table(latest(file))


def strokes(folder: Path) -> str:
    """The main table of an evaluation."""
    return markdown(tables.headline(json.loads((folder / SUMMARY).read_text(encoding="utf-8"))))[0]


if __name__ == "__main__":
    main()
