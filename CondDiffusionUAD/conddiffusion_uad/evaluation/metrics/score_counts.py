"""How many healthy and lesion voxels have each score: curves of any number of scans without keeping their maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

LARGEST = float(np.finfo(np.float16).max)
"""Scores are counted in half precision: 11 significant bits, so that 2 and 2.002 still differ."""


@dataclass(frozen=True, eq=False)
class ScoreCounts:
    """A histogram of scores with a bin for each score that occurs, of one scan or, added up, of many.

    A score at the threshold is flagged, as it is in a detection's findings.

    Attributes:
        scores: float64 (n,), increasing; the lowest score of each bin.
        healthy: Healthy voxels in each bin, int64 (n,).
        lesion: Lesion voxels in each bin, int64 (n,).
    """

    scores: np.ndarray
    healthy: np.ndarray
    lesion: np.ndarray

    def merged(self, scores: np.ndarray) -> ScoreCounts:
        """The same voxels in other bins, which begin at increasing `scores`, the first of them not above any voxel."""
        place = np.searchsorted(scores, self.scores, side="right") - 1
        totals = (np.bincount(place, part, len(scores)).astype(np.int64) for part in (self.healthy, self.lesion))
        return ScoreCounts(scores, *totals)

    def prevalence(self) -> float | None:
        """Share of the voxels that is lesion, the average precision of a random score; None without voxels."""
        lesion, healthy = int(self.lesion.sum()), int(self.healthy.sum())
        return lesion / (lesion + healthy) if lesion + healthy else None

    def average_precision(self) -> float | None:
        """Area under the precision-recall curve, the sum over thresholds of ``(R_n - R_{n-1}) P_n``.

        Voxels of equal score share one threshold. None without lesion voxels.
        """
        hits, flagged = self._at_thresholds()
        return float(np.sum(np.diff(hits, prepend=0) / hits[-1] * (hits / flagged))) if self.lesion.any() else None

    def auroc(self) -> float | None:
        """Area under the receiver operating characteristic: how often a lesion voxel scores higher than a healthy one.

        Equal scores count one half. None without lesion or without healthy voxels.
        """
        if not (self.lesion.any() and self.healthy.any()):
            return None
        hits, flagged = self._at_thresholds()
        recall, false = np.append(0, hits) / hits[-1], flagged - hits
        return float(np.sum(np.diff(false, prepend=0) / false[-1] * (recall[1:] + recall[:-1]) / 2))

    def precision_recall(self) -> tuple[np.ndarray, np.ndarray]:
        """Recall, increasing to 1, and precision at each score that occurs; both empty without lesion voxels."""
        if not self.lesion.any():
            return np.empty(0), np.empty(0)
        hits, flagged = self._at_thresholds()
        return hits / hits[-1], hits / flagged

    def dice(self) -> np.ndarray:
        """Dice coefficient of the voxels from each bin on, (n,); NaN without lesion voxels."""
        hits, flagged = (np.cumsum(part[::-1])[::-1] for part in (self.lesion, self.healthy + self.lesion))
        total = hits[0] if len(hits) else 0
        return 2 * hits / (flagged + total) if total else np.full(len(hits), np.nan)

    def dice_at(self, threshold: float) -> float | None:
        """Dice coefficient of the voxels that score at least `threshold`; None without lesion voxels."""
        if not self.lesion.any():
            return None
        return float(np.append(self.dice(), 0.0)[np.searchsorted(self.scores, threshold)])

    def best_dice(self) -> tuple[float, float] | None:
        """The highest Dice coefficient that a threshold reaches, and the highest such threshold.

        It is chosen with the labels, so it is an upper bound and no result. None without lesion voxels.
        """
        if not self.lesion.any():
            return None
        values = self.dice()
        best = len(values) - 1 - int(values[::-1].argmax())
        return float(values[best]), float(self.scores[best])

    def _at_thresholds(self) -> tuple[np.ndarray, np.ndarray]:
        """How many voxels are lesion, and how many there are, from each score that occurs on, the highest first."""
        every = (self.healthy + self.lesion)[::-1]
        return np.cumsum(self.lesion[::-1])[every > 0], np.cumsum(every)[every > 0]


def count(scores: np.ndarray, truth: np.ndarray) -> ScoreCounts:
    """Count voxels by score.

    Args:
        scores: Any shape, voxels of the brain only; larger means more anomalous. Infinite ones are allowed.
        truth: Boolean, same shape: whether a voxel is lesion.

    Raises:
        ValueError: A score is NaN or beyond what half precision can hold (65504), or the shapes differ.
    """
    if scores.shape != truth.shape:
        raise ValueError(f"Scores {scores.shape} and truth {truth.shape} differ in shape.")
    with np.errstate(over="ignore"):
        halves = scores.astype(np.float16).ravel() + np.float16(0)  # -0 becomes 0
    if np.isnan(halves).any() or np.any(np.isinf(halves) & np.isfinite(scores.ravel())):
        raise ValueError(f"Scores must be numbers from -{LARGEST:.0f} to {LARGEST:.0f}: scale them.")
    patterns = np.bincount(halves.view(np.uint16), minlength=1 << 16)
    lesion = np.bincount(halves[truth.ravel().astype(bool)].view(np.uint16), minlength=1 << 16)
    occurring = np.flatnonzero(patterns)
    values = occurring.astype(np.uint16).view(np.float16).astype(np.float64)
    order = np.argsort(values)
    occurring = occurring[order]
    return ScoreCounts(values[order], (patterns - lesion)[occurring], lesion[occurring])


def total(scans: Iterable[ScoreCounts]) -> ScoreCounts:
    """The counts of all scans together, exact at every score; empty without scans."""
    added = ScoreCounts(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
    for scan in scans:
        scores = np.union1d(added.scores, scan.scores)
        parts = (added.merged(scores), scan.merged(scores))
        added = ScoreCounts(scores, *(sum(getattr(p, kind) for p in parts) for kind in ("healthy", "lesion")))
    return added


def shared_thresholds(counts: ScoreCounts, number: int) -> np.ndarray:
    """At most `number` of the scores that occur, increasing: from each on, a number of voxels growing by equal factors.

    The first is the lowest score of all, so that :meth:`ScoreCounts.merged` keeps every voxel.
    """
    flagged = np.cumsum((counts.healthy + counts.lesion)[::-1])
    wanted = np.geomspace(1, flagged[-1], number).clip(max=flagged[-1])  # rounding may exceed the end
    return counts.scores[::-1][np.unique(np.searchsorted(flagged, wanted))][::-1]


def auroc(scores: Sequence[float] | np.ndarray, truth: Sequence[bool] | np.ndarray) -> float | None:
    """See :meth:`ScoreCounts.auroc`; for few values."""
    return count(np.asarray(scores, float), np.asarray(truth, bool)).auroc()


def dice(flagged: np.ndarray, truth: np.ndarray) -> float | None:
    """Dice coefficient ``2 |A and B| / (|A| + |B|)`` of two boolean arrays of one shape; None when both are empty."""
    size = int(flagged.sum()) + int(truth.sum())
    return 2 * int((flagged & truth).sum()) / size if size else None
