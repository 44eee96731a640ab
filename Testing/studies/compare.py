"""Average precision of several bundles, or of one with other rules.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/compare.py BUNDLE... --data DIR [--rules] [--most N]

Prints a Markdown table: a row for each bundle and rule, a column for each patient, or for each data set of many.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from healthy_map import divided, healthy_map

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.data.cases import Case, Examined, examine
from conddiffusion_uad.evaluation.data.find import find, some
from conddiffusion_uad.evaluation.methods import BASELINES, UNTRAINED, smoothing_of
from conddiffusion_uad.evaluation.metrics.score_counts import count
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.anomaly_map.residual import Residual
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.run import restore
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.data.corpus import load_corpus

FEW = 3  # patients of a data set that get a column each
Precisions = dict[str, dict[tuple[str, str], list[float]]]  # by row, then by column
Show = Callable[[str], None]
HealthyMaps = Mapping[tuple[str, str], np.ndarray]  # by bundle and contrast

# One change at a time from a bundle's own rule.
CHANGES: Mapping[str, Mapping[str, object]] = {
    "absolute residual": {"sign": "absolute"},
    "all tissue alike": {"tissue": "any"},
    "absolute, all tissue alike": {"sign": "absolute", "tissue": "any"},
    "no smoothing": {"smoothing": "none"},
    "Gaussian of 0.7 voxels": {"size": 0.7},
    "Gaussian of 1.5 voxels": {"size": 1.5},
    "median of 3 x 3 x 3": {"smoothing": "median", "size": 3},
    "median of 5 x 5 x 5": {"smoothing": "median", "size": 5},
}


def columns(cases: Sequence[Case]) -> dict[Case, tuple[str, str]]:
    """The column of each case: its patient or its data set, and the contrast."""
    patients = defaultdict(set)
    for case in cases:
        patients[case.dataset].add(case.patient)
    return {c: (c.patient if len(patients[c.dataset]) <= FEW else c.dataset, c.contrast) for c in cases}


def variants(bundle: Bundle, contrast: str, *, all_rules: bool) -> Iterator[tuple[str, Sequence[int], Residual]]:
    """What to try with a bundle: name, timesteps and residual rule."""
    rule, timesteps = smoothing_of(bundle, contrast), bundle.config.timesteps
    yield bundle.name, timesteps, rule
    if all_rules:
        for timestep in timesteps:
            yield f"{bundle.name}, timestep {timestep} alone", (timestep,), rule
        for name, change in CHANGES.items():
            yield f"{bundle.name}, {name}", timesteps, replace(rule, **change)


def compare(
    loaded: Sequence[Bundle],
    cases: Sequence[Case],
    *,
    all_rules: bool = False,
    healthy: HealthyMaps | None = None,
    seed: int = 0,
    show: Show,
) -> Precisions:
    """Average precision inside the brain of every bundle and baseline in every case.

    Args:
        loaded: The bundles; the baselines are smoothed by the rule of the first.
        cases: Labeled.
        all_rules: Whether to try :data:`CHANGES` and single timesteps, too.
        healthy: Usual residuals, to try residuals divided by them in volumes, too.
        seed: Of the noise.
        show: Told how far it is.
    """
    result: Precisions = defaultdict(lambda: defaultdict(list))
    place = columns(cases)
    for number, case in enumerate(cases, start=1):
        show(f"{number}/{len(cases)} {case.patient} {case.contrast}")
        examined = examine(case, loaded[0].config.grid)
        brain = examined.native_mask
        truth = examined.native_truth[brain]
        if not truth.any():
            continue
        for name, scores in _maps(loaded, examined, all_rules, healthy or {}, seed):
            value = count(scores[brain], truth).average_precision()
            result[name][place[case]].append(value)
    return result


def _maps(
    loaded: Sequence[Bundle], examined: Examined, all_rules: bool, healthy: HealthyMaps, seed: int
) -> Iterator[tuple[str, np.ndarray]]:
    contrast = examined.case.contrast
    for name in BASELINES:
        if name != UNTRAINED:
            yield name, BASELINES[name](examined, loaded[0], seed)
    for bundle in loaded:
        if contrast not in bundle.config.contrasts:
            continue
        estimates: dict[Sequence[int], Restored] = {}
        for name, timesteps, rule in variants(bundle, contrast, all_rules=all_rules):
            if timesteps not in estimates:
                estimates[timesteps] = restore(bundle, examined.prepared, contrast, timesteps=timesteps, seed=seed)
            yield name, examined.native(rule(estimates[timesteps], bundle.model))
        if (bundle.name, contrast) in healthy:
            usual = pad_to(healthy[bundle.name, contrast], bundle.config.grid, examined.prepared.grid)
            own = smoothing_of(bundle, contrast)(estimates[bundle.config.timesteps], bundle.model)
            yield f"{bundle.name}, divided by the healthy residual", examined.native(divided(own, usual))


def table(precisions: Precisions) -> str:
    """The mean of each row and column as a Markdown table."""
    heads = list(dict.fromkeys(column for row in precisions.values() for column in row))
    titles = " | ".join(f"{name} {contrast}" for name, contrast in heads)
    lines = [f"| | {titles} |", "|---" * (len(heads) + 1) + "|"]
    for name, row in precisions.items():
        means = [f"{np.mean(row[column]):.3f}" if column in row else "" for column in heads]
        lines.append(f"| {name} | " + " | ".join(means) + " |")
    return "\n".join(lines)


def pad_to(values: np.ndarray, grid: Grid, wanted: Grid) -> np.ndarray:
    """Values (z, y, x) on one grid brought to a larger one of the same lattice, which goes on as at the rim."""
    low = np.rint((np.array(grid.origin) - np.array(wanted.origin)) / grid.spacing).astype(int)
    high = np.array(wanted.size) - np.array(grid.size) - low
    return np.pad(values, list(zip(low[::-1], high[::-1], strict=True)), mode="edge")


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare bundles and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="labeled scans")
    parser.add_argument("--rules", action="store_true", help="also other timesteps and rules, one change at a time")
    parser.add_argument("--healthy", type=Path, metavar="DIR", help="training data: also divide by usual residuals")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="of the training data (default: .cache in it)")
    parser.add_argument("--most", type=int, metavar="N", help="patients, or slices, of each data set (default: all)")
    options = parser.parse_args(arguments)
    loaded = [bundles.load(name) for name in options.bundles]
    contrasts = tuple(dict.fromkeys(contrast for bundle in loaded for contrast in bundle.config.contrasts))
    labeled = [case for case in find([options.data], contrasts) if case.truth]
    cases = some(labeled, options.most)
    healthy = _healthy_maps(loaded, options.healthy, options.cache) if options.healthy else None
    print(table(compare(loaded, cases, all_rules=options.rules, healthy=healthy, show=_show)))


def _healthy_maps(loaded: Sequence[Bundle], data: Path, cache: Path | None) -> HealthyMaps:
    maps = {}
    for bundle in loaded:
        recipe = recipes.load(str(bundle.path / bundles.RECIPE))
        corpus = load_corpus(recipe.sources, data, bundle.config.grid, cache or data / ".cache", _show)
        maps |= {(bundle.name, contrast): healthy_map(bundle, corpus, contrast) for contrast in bundle.config.contrasts}
    return maps


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
