"""The table of figures in a bundle's model card: `python -m conddiffusion_uad.evaluation.card BUNDLE --data DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from conddiffusion_uad.model import bundle as bundles

from .experiment import Result, healthy_cases, labeled_cases, measure

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def labeled_table(results: Sequence[Result]) -> str:
    """Average precision of each case and method as a Markdown table, with the mean of each folder's patients."""
    methods = list(results[0].precision)
    lines = ["| scan | contrast | prevalence | " + " | ".join(methods) + " |", "|---" * (3 + len(methods)) + "|"]
    for result in results:
        values = [result.prevalence, *(result.precision[m] for m in methods)]
        lines.append(
            f"| {result.case.name} | {result.case.contrast} | " + " | ".join(f"{v:.3f}" for v in values) + " |"
        )
    for group in dict.fromkeys((r.case.folder, r.case.contrast) for r in results):
        chosen = [r for r in results if (r.case.folder, r.case.contrast) == group]
        means = [np.mean([r.prevalence for r in chosen]), *(np.mean([r.precision[m] for r in chosen]) for m in methods)]
        lines.append(f"| **mean of {len(chosen)}** | {group[1]} | " + " | ".join(f"**{v:.3f}**" for v in means) + " |")
    return "\n".join(lines)


def healthy_table(results: Sequence[Result]) -> str:
    """Share of healthy brains that is flagged at the default threshold as a Markdown table."""
    lines = ["| healthy scan | contrast | flagged |", "|---|---|---|"]
    lines += [f"| {r.case.name} | {r.case.contrast} | {100 * r.flagged:.2f} % |" for r in results]
    return "\n".join(lines)


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
    options = parser.parse_args(arguments)
    bundle = bundles.load(options.bundle)
    insert(bundle.path / bundles.CARD, "")
    labeled, healthy = [], []
    for cases, results in ((labeled_cases, labeled), (healthy_cases, healthy)):
        for case in cases(options.data, bundle.config.contrasts):
            print(f"{case.name} {case.contrast}", file=sys.stderr, flush=True)
            results.append(measure(case, bundle))
    figures = "\n\n".join((labeled_table(labeled), healthy_table(healthy)))
    insert(bundle.path / bundles.CARD, figures)
    print(figures)


if __name__ == "__main__":
    main()
