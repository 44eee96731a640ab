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
from collections.abc import Sequence
from pathlib import Path

import check_bundle
import check_promise
import intervals
import numpy as np
import smallest_lesion
from card import insert
from kept_lines import latest
from make_bundle import ASKED
from markdown_tables import markdown
from varied_cases import brain_of, is_varied

from conddiffusion_uad.evaluation.experiment import SUMMARY
from conddiffusion_uad.evaluation.reporting import tables
from conddiffusion_uad.evaluation.reporting.table import UNKNOWN
from conddiffusion_uad.protocol.expected_findings import USUAL

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
    heads = ("", "scans of brains", *(f"made for {asked:g}" for asked in ASKED), f"threshold for {USUAL:g}")
    heads += (f"bound for {USUAL:g}", "median ml at it", "only tried", f"made there for {USUAL:g}")
    rows = [heads, ("---",) * len(heads)]
    for contrast, of in told.items():
        for title, varied in ((f"{contrast}, plain", False), (f"{contrast}, varied", True)):
            kept = [k for k, name in enumerate(of["scans"]) if is_varied(name) == varied]
            if not kept:
                continue
            brains = [brain_of(of["scans"][k]) for k in kept]
            made = (_mean([of[f"made for {asked:g}"][k] for k in kept], brains) for asked in ASKED)
            limits = (of["threshold"], of["bound"], np.median([of["ml"][k] for k in kept]))
            others = of[f"made in others for {USUAL:g}"] if "others" in of and not varied else []
            scans = f"{len(brains)} of {len(set(brains))}"
            tried = (str(len(others)), " ".join(map(str, others))) if others else ("", "")
            rows.append((title, scans, *made, *(intervals.short(float(each)) for each in limits), *tried))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _mean(made: Sequence[int | None], brains: Sequence[str]) -> str:
    """The mean of counts, of which None could not be promised; a dash when that is one of them."""
    counts = [each for each in made if each is not None]
    return intervals.findings(counts, brains) if len(counts) == len(made) else UNKNOWN


def strokes(folder: Path) -> str:
    """The main table of an evaluation, and that of its healthy scans if it has any."""
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    made = (tables.headline(summary), tables.healthy_headline(summary))
    return "\n\n".join(markdown(table)[0] for table in made if table.rows)


if __name__ == "__main__":
    main()
