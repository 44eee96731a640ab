"""The score counts of many scans: exact when added up, and for each scan at thresholds that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from conddiffusion_uad.evaluation.metrics.score_counts import ScoreCounts
from conddiffusion_uad.evaluation.metrics.voxels import dice_coefficients

THRESHOLDS = 512  # shared ones: one flags about 4 % more voxels than the next
FOLDS = 5  # of the patients, for a threshold that is chosen on others


@dataclass(frozen=True, eq=False)
class Pooled:
    """One method's scores in a group of scans.

    Attributes:
        total: Counts of all scans together, at every score.
        scans: Counts of each scan between the shared thresholds, (at most THRESHOLDS,) in increasing order: some
            kilobytes a scan instead of a megabyte.
        thresholds: The lowest score of each of these bins.
    """

    total: ScoreCounts
    scans: tuple[ScoreCounts, ...]
    thresholds: np.ndarray


def pool(load: Callable[[], Iterable[ScoreCounts]]) -> Pooled | None:
    """Add up counts, and merge each scan's bins.

    Args:
        load: Yields the counts of one scan after the other. It is called twice, so that only one scan's counts need to
            be in memory: the first round finds the thresholds, the second applies them.

    Returns:
        None without scans.
    """
    total: ScoreCounts | None = None
    for counts in load():
        total = counts if total is None else total + counts
    if total is None:
        return None
    starts = _bin_starts(total.healthy + total.lesion)
    merged = tuple(
        ScoreCounts(np.add.reduceat(counts.healthy, starts), np.add.reduceat(counts.lesion, starts))
        for counts in load()
    )
    return Pooled(total, merged, total.scores()[starts])


def _bin_starts(voxels: np.ndarray) -> np.ndarray:
    """First bins of the merged ones, increasing: from each on, a number of voxels that grows by equal factors."""
    occurring = np.flatnonzero(voxels)[::-1]
    flagged = np.cumsum(voxels[occurring])
    wanted = np.geomspace(1, flagged[-1], THRESHOLDS).clip(max=flagged[-1])  # rounding may exceed the end
    return occurring[np.unique(np.searchsorted(flagged, wanted))][::-1]


@dataclass(frozen=True)
class ValidatedDice:
    """Dice coefficients at thresholds that were chosen on other patients.

    Attributes:
        values: One a scan; None where there is no lesion, and everywhere with fewer than two patients.
        thresholds: The chosen score of each fold.
    """

    values: tuple[float | None, ...]
    thresholds: tuple[float, ...]


def validated_dice(pooled: Pooled, patients: Sequence[str]) -> ValidatedDice:
    """Dice of each scan at the threshold with the best mean Dice on the patients of the other folds.

    Patients are dealt to the folds in the order of their names; with fewer than five patients, each is a fold.

    Args:
        pooled: The scans' scores.
        patients: Whose scan it is, as many as scans.
    """
    curves = np.stack([_dice_curve(counts) for counts in pooled.scans])
    names = {name: place for place, name in enumerate(sorted(set(patients)))}
    folds = np.array([names[patient] % FOLDS for patient in patients])
    known = ~np.isnan(curves[:, 0])
    values = np.full(len(curves), np.nan)
    thresholds = []
    for fold in np.unique(folds[known]):
        others = curves[known & (folds != fold)]
        if len(others):
            best = int(others.mean(axis=0).argmax())
            values[folds == fold] = curves[folds == fold, best]
            thresholds.append(float(pooled.thresholds[best]))
    return ValidatedDice(tuple(None if np.isnan(value) else float(value) for value in values), tuple(thresholds))


def _dice_curve(counts: ScoreCounts) -> np.ndarray:
    """Dice at each bin's threshold; NaN without lesion."""
    if not counts.lesion.any():
        return np.full(len(counts.lesion), np.nan)
    hits, healthy = (np.cumsum(values[::-1]) for values in (counts.lesion, counts.healthy))
    return dice_coefficients(hits, hits + healthy)[::-1]
