"""The table of figures in a bundle's model card: `python -m conddiffusion_uad.evaluation.card BUNDLE --data DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from conddiffusion_uad.detection.output import scan_name
from conddiffusion_uad.lattice import part
from conddiffusion_uad.model import bundle as bundles
from conddiffusion_uad.volume import Grid

from .cases import Examined, examine
from .datasets import find
from .experiment import MODEL, Result, measure, score_maps

FEWEST = 5  # cases from which on a mean gets an interval
RESAMPLES = 10_000  # of the bootstrap
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def labeled_table(results: Sequence[Result]) -> str:
    """Average precision and Dice of each case as a Markdown table, and the means of each data set.

    Single slices are only in the means.
    """
    methods = list(results[0].precision)
    heads = ["scan", "contrast", "prevalence", *methods, "Dice", "best Dice"]
    lines = [_row(heads), "|---" * len(heads) + "|"]
    for result in results:
        if result.case.index is None:
            lines.append(_row([result.case.patient, result.case.contrast, *(f"{v:.3f}" for v in _values(result))]))
    for group in dict.fromkeys((r.case.dataset, r.case.contrast) for r in results):
        chosen = [_values(r) for r in results if (r.case.dataset, r.case.contrast) == group]
        means = [_mean(column) for column in np.array(chosen).T]
        lines.append(_row([f"**{group[0]}, mean of {len(chosen)}**", group[1], *means]))
    return "\n".join(lines)


def _mean(values: np.ndarray) -> str:
    """The mean of what is known; of many values with its 95 % interval, bootstrapped over the cases."""
    known = values[~np.isnan(values)]
    if len(known) < FEWEST or np.ptp(known) == 0:
        return f"**{np.mean(known):.3f}**"
    means = np.random.default_rng(0).choice(known, (RESAMPLES, len(known))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"**{np.mean(known):.3f}** ({low:.3f} to {high:.3f})"


def _values(result: Result) -> list[float]:
    return [result.prevalence, *result.precision.values(), result.dice, result.best_dice]


def _row(entries: Sequence[str]) -> str:
    return "| " + " | ".join(entries) + " |"


def healthy_table(results: Sequence[Result]) -> str:
    """Share of healthy brains that is flagged at the default threshold as a Markdown table; of slices the mean."""
    lines = ["| healthy scan | contrast | flagged |", "|---|---|---|"]
    lines += [_row([r.case.patient, r.case.contrast, f"{r.flagged:.2%}"]) for r in results if r.case.index is None]
    for dataset in dict.fromkeys(r.case.dataset for r in results if r.case.index is not None):
        flagged = [r.flagged for r in results if r.case.dataset == dataset]
        contrast = next(r.case.contrast for r in results if r.case.dataset == dataset)
        lines.append(_row([f"{dataset}, mean of {len(flagged)} slices", contrast, f"{np.mean(flagged):.2%}"]))
    return "\n".join(lines)


def repeatability(first: Examined, second: Examined, scores: tuple[np.ndarray, np.ndarray], grid: Grid) -> str:
    """How the heatmaps of two scans of one person agree, voxel by voxel in the atlas, as a sentence."""
    pair = (first, second)
    brain = np.logical_and(*(part(examined.mask, examined.grid, grid) for examined in pair))
    values = [part(score, examined.grid, grid)[brain] for score, examined in zip(scores, pair, strict=True)]
    names = f"{first.case.patient} and {second.case.patient}"
    return f"Heatmaps of {names}, one person scanned twice: correlation {np.corrcoef(*values)[0, 1]:.2f}."


def insert(card: Path, figures: str) -> None:
    """Replace what stands between the marks in a card. Raises ValueError when it has no marks."""
    text = card.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"{card} lacks the marks {BEGIN} and {END}.")
    card.write_text(f"{before}{BEGIN}\n{figures}\n{END}{after}", encoding="utf-8", newline="\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all scans of a data folder and write the figures into the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--twice", nargs=2, default=(), metavar="NAME", help="two healthy scans of one person")
    options = parser.parse_args(arguments)
    bundle = bundles.load(options.bundle)
    insert(bundle.path / bundles.CARD, "")
    labeled, healthy, twice = [], [], []
    for case in find([options.data], bundle.config.contrasts):
        print(f"{case.patient} {case.contrast}", file=sys.stderr, flush=True)
        examined = examine(case, bundle.config.grid)
        maps = score_maps(examined, bundle)
        (labeled if case.truth else healthy).append(measure(examined, maps))
        if case.truth is None and scan_name(str(case.scan)) in options.twice:
            twice.append((examined, maps[MODEL]))
    tables = [labeled_table(labeled), healthy_table(healthy)]
    if len(twice) == 2:
        (first, one), (second, other) = twice
        tables.append(repeatability(first, second, (one, other), bundle.config.grid))
    figures = "\n\n".join(tables)
    insert(bundle.path / bundles.CARD, figures)
    print(figures)


if __name__ == "__main__":
    main()
