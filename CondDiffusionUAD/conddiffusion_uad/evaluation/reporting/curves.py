"""The curves of a report from counts by score, thinned to what a plot can show."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from conddiffusion_uad.evaluation.metrics.score_counts import ScoreCounts

Curve = dict[str, list[float]]

POINTS = 200  # of a precision-recall curve
BARS = 60  # of a histogram
CALIBRATION_SCORES = np.round(np.arange(0.5, 4.01, 0.1), 1)
_MOST_SHOWN = 0.999  # share of the voxels of either kind that a histogram covers
_DIGITS = 6


def precision_recall(counts: ScoreCounts) -> Curve:
    """``{"recall", "precision"}`` from the highest score on; empty without lesion."""
    recall, precision = counts.precision_recall()
    if len(recall) > POINTS:
        kept = np.unique(np.searchsorted(recall, np.linspace(recall[0], 1, POINTS)).clip(max=len(recall) - 1))
        recall, precision = recall[kept], precision[kept]
    return {"recall": _rounded(recall), "precision": _rounded(precision)}


def histogram(counts: ScoreCounts) -> Curve:
    """``{"edges", "healthy", "lesion"}``: the share of each kind of voxels per unit of score.

    Both are shares of all voxels of their kind, also of the few that score beyond the last edge.
    """
    scores = counts.scores
    ends = [_quantiles(values, scores) for values in (counts.healthy, counts.lesion) if values.any()]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    edges = np.linspace(low, max(high, low + 1e-3), BARS + 1)
    place = np.searchsorted(edges, scores, side="right") - 1
    shown = (place >= 0) & (place < BARS)
    result = {"edges": _rounded(edges)}
    for name, values in (("healthy", counts.healthy), ("lesion", counts.lesion)):
        bars = np.bincount(place[shown], values[shown], BARS)
        result[name] = _rounded(bars / max(values.sum(), 1) / (edges[1] - edges[0]))
    return result


def calibration(scans: Iterable[ScoreCounts]) -> Curve:
    """``{"score", "mean", "low", "high"}``: the share of healthy voxels with at least a score, over scans.

    Low and high are the 5th and the 95th percentile of the scans. A calibrated score s has the share ``10^-s``. Empty
    without scans.
    """
    shares = [_shares_from(counts) for counts in scans]
    if not shares:
        return {name: [] for name in ("score", "mean", "low", "high")}
    low, high = np.quantile(shares, (0.05, 0.95), axis=0)
    values = {"score": CALIBRATION_SCORES, "mean": np.mean(shares, axis=0), "low": low, "high": high}
    return {name: _rounded(column) for name, column in values.items()}


def _shares_from(counts: ScoreCounts) -> np.ndarray:
    """Share of the healthy voxels that score at least each of CALIBRATION_SCORES."""
    occurring = np.flatnonzero(counts.healthy)
    below = np.append(0, np.cumsum(counts.healthy[occurring]))
    first = np.searchsorted(counts.scores[occurring], CALIBRATION_SCORES, side="left")
    return 1 - below[first] / below[-1]


def _quantiles(voxels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """The lowest score of some voxels, and the score that all but a few of them stay below."""
    occurring = np.flatnonzero(voxels)
    share = np.cumsum(voxels[occurring]) / voxels.sum()
    return float(scores[occurring[0]]), float(scores[occurring[np.searchsorted(share, _MOST_SHOWN)]])


def _rounded(values: np.ndarray) -> list[float]:
    return np.round(values, _DIGITS).tolist()
