"""Write the tables of the studies of a learned map into the card of its bundle, each between its marks.

    PYTHONPATH=CondDiffusionUAD:Testing/studies python Testing/studies/learned_map/fill_card.py BUNDLE/docs/README.md \\
        [--cases check.jsonl] [--promise promise.jsonl] [--smallest smallest.jsonl] [--strokes EVALUATION] \\
        [--calibration promise.json]

What is not named stays as it is. The files are those of check_bundle.py, check_promise.py, smallest_lesion.py and
make_bundle.py; the lines of the bundle that was measured last are taken. EVALUATION is a folder that
``conddiffusion-uad evaluate`` wrote.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

import check_bundle
import check_promise
import intervals
import smallest_lesion
from card import insert
from kept_lines import latest
from make_bundle import ASKED
from markdown_tables import markdown

from conddiffusion_uad.evaluation.experiment import SUMMARY
from conddiffusion_uad.evaluation.reporting import tables

SAME = (("1005_t1.nii.gz", "1025_t1.nii.gz"),)  # scans of OASIS of one person


def main() -> None:
    """Fill in what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("card", type=Path)
    made = {"cases": cases, "promise": promise, "smallest": smallest, "strokes": strokes, "calibration": calibration}
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


def calibration(file: Path) -> str:
    """What make_bundle.py counted in the scans of the calibration, and in those that were only tried."""
    told = json.loads(file.read_text(encoding="utf-8"))
    heads = ("", "scans", *(f"made for {asked:g}" for asked in ASKED), "threshold for 1", "bound for 1", "ml at it")
    heads += ("only tried", "made there for 1")
    rows = [heads, ("---",) * len(heads)]
    for contrast, of in told.items():
        made = (" ".join(map(str, of[f"made for {asked:g}"])) for asked in ASKED)
        limits = (intervals.short(of["threshold"]), intervals.short(of["bound"]))
        ml, others = " ".join(map(intervals.short, of["ml"])), " ".join(map(str, of["made in others for 1"]))
        rows.append((contrast, _named(of["scans"]), *made, *limits, ml, _named(of["others"]), others))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _named(cases: Sequence[str]) -> str:
    """Names of healthy cases as one reads them: "labels 18, IXI048"."""
    parts = (re.sub("^healthy_|(_as)?_(T1|T2|FLAIR)$", "", name) for name in cases)
    return ", ".join(part.replace("_", " ") for part in parts)


def strokes(folder: Path) -> str:
    """The main table of an evaluation, and that of its healthy scans if it has any."""
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    made = (tables.headline(summary), tables.healthy_headline(summary))
    return "\n\n".join(markdown(table)[0] for table in made if table.rows)


if __name__ == "__main__":
    main()
