"""Write the figures of an evaluation into the model card of its bundle.

PYTHONPATH=CondDiffusionUAD python Testing/studies/card.py BUNDLE EVALUATION --twice SCAN SCAN
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markdown_tables import markdown

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation import record
from conddiffusion_uad.evaluation.experiment import SUMMARY
from conddiffusion_uad.evaluation.record import Record
from conddiffusion_uad.evaluation.reporting import tables
from conddiffusion_uad.evaluation.shifts import CLEAN
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.contrast import choose
from conddiffusion_uad.method import run
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.preparation import Prepared, prepare
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.training.data.crop import crop_to

BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"
FIGURES = "figures"
Scored = tuple[Prepared, np.ndarray]


def figures(summary: Mapping[str, Any], records: Sequence[Record]) -> str:
    """What a card says of an evaluation, in Markdown: each data set, what is flagged in healthy scans, each volume.

    Args:
        summary: See :func:`conddiffusion_uad.evaluation.reporting.summary.summarize`.
        records: One a scan. Thin volumes are in the means only.
    """
    volumes_only = [each for each in records if not each.thin and each.corruption == CLEAN]
    made = (
        tables.headline(summary),
        tables.healthy_headline(summary),
        tables.scans(volumes_only, summary["main"]),
    )
    return "\n\n".join(part for table in made for part in markdown(table))


def repeatability(first: Scored, second: Scored) -> float:
    """How the heatmaps of two scans of one person agree: their correlation in the brain of both, in the atlas.

    Args:
        first: A prepared scan, and its anomaly score (z, y, x) on the grid of its preparation.
        second: The same of the other scan.
    """
    grid = min((prepared.grid for prepared, _ in (first, second)), key=lambda grid: np.prod(grid.size))
    brain = np.logical_and(*(crop_to(prepared.mask, prepared.grid, grid) for prepared, _ in (first, second)))
    values = [crop_to(scores, prepared.grid, grid)[brain] for prepared, scores in (first, second)]
    return float(np.corrcoef(*values)[0, 1])


def score(file: Path, bundle: Bundle) -> Scored:
    """Prepare a scan and score it on the bundle's grid. Raises Failure."""
    scan = volumes.read(file)
    contrast = choose("auto", str(file), scan)
    prepared = prepare(scan, grid=bundle.config.grid, atlas=atlas.load(), progress=Quiet())
    return prepared, run.score(bundle, prepared, contrast).score


def insert(card: Path, text: str, name: str = FIGURES) -> None:
    """Replace what stands between the marks of a name in a card. Raises ValueError when it has no such marks."""
    whole = card.read_text(encoding="utf-8")
    begin, end = BEGIN.format(name), END.format(name)
    before, mark, rest = whole.partition(begin)
    _, closing, after = rest.partition(end)
    if not (mark and closing):
        raise ValueError(f"{card} lacks the marks {begin} and {end}.")
    card.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8", newline="\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("evaluation", type=Path, help="folder that `conddiffusion-uad evaluate` wrote to")
    parser.add_argument("--twice", nargs=2, type=Path, metavar="SCAN", help="two healthy scans of one person")
    options = parser.parse_args(arguments)
    bundle = bundles.load(options.bundle)
    summary = json.loads((options.evaluation / SUMMARY).read_text(encoding="utf-8"))
    text = figures(summary, record.load_all(options.evaluation))
    if options.twice:
        agreement = repeatability(*(score(file, bundle) for file in options.twice))
        text += f"\n\nHeatmaps of one person scanned twice: correlation {agreement:.2f}."
    insert(bundle.path / bundles.CARD, text)


if __name__ == "__main__":
    main()
