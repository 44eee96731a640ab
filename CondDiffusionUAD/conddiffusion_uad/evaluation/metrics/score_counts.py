"""Counts of healthy and lesion voxels by score: curves of any number of scans without keeping their maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conddiffusion_uad.evaluation.metrics.voxels import area_under_precision_recall, area_under_roc, dice_coefficients

BINS = 1 << 16
"""One for each bit pattern of a half-precision number, in the order of their values: negative ones first."""

_SIGN = np.uint16(1 << 15)


@dataclass(frozen=True, eq=False)
class ScoreCounts:
    """How many voxels have each score, of one scan or, added up, of many.

    What is computed from them is exact for scores that are rounded to half precision: 11 significant bits, so that
    2 and 2.002 still differ. A score at the threshold is flagged, as it is in a detection's findings.

    Attributes:
        healthy: Healthy voxels in each bin, int64, (BINS,).
        lesion: Lesion voxels in each bin, int64, (BINS,).
    """

    healthy: np.ndarray
    lesion: np.ndarray

    def __add__(self, other: ScoreCounts) -> ScoreCounts:
        return ScoreCounts(self.healthy + other.healthy, self.lesion + other.lesion)

    def prevalence(self) -> float | None:
        """Share of the voxels that is lesion, the average precision of a random score; None without voxels."""
        lesion, healthy = int(self.lesion.sum()), int(self.healthy.sum())
        return lesion / (lesion + healthy) if lesion + healthy else None

    def average_precision(self) -> float | None:
        """See :func:`conddiffusion_uad.evaluation.metrics.voxels.average_precision`; None without lesion voxels."""
        return _known(area_under_precision_recall(*self._at_thresholds()))

    def auroc(self) -> float | None:
        """See :func:`conddiffusion_uad.evaluation.metrics.voxels.auroc`; None without lesion or healthy voxels."""
        return _known(area_under_roc(*self._at_thresholds()))

    def precision_recall(self) -> tuple[np.ndarray, np.ndarray]:
        """Recall and precision at each score that occurs, the highest first.

        Returns:
            Recall, increasing to 1, and precision, of one length; both empty without lesion voxels.
        """
        hits, flagged = self._at_thresholds()
        if not self.lesion.any():
            return np.empty(0), np.empty(0)
        return hits / hits[-1], hits / flagged

    def dice_at(self, threshold: float) -> float | None:
        """Dice coefficient of the voxels that score at least `threshold`; None without lesion voxels."""
        first = int(_bins(np.array([threshold]))[0])
        hits, lesion = int(self.lesion[first:].sum()), int(self.lesion.sum())
        return 2 * hits / (hits + int(self.healthy[first:].sum()) + lesion) if lesion else None

    def best_dice(self) -> tuple[float, float] | None:
        """The highest Dice coefficient that a threshold reaches, and the highest such threshold.

        It is chosen with the labels, so it is an upper bound and no result. None without lesion voxels.
        """
        if not self.lesion.any():
            return None
        values = dice_coefficients(*self._at_thresholds())
        best = int(values.argmax())
        return float(values[best]), float(self.scores()[self._occurring()[best]])

    def scores(self) -> np.ndarray:
        """The score of each bin, float64, (BINS,): not decreasing, NaN in the bins at both ends that are no number."""
        keys = np.arange(BINS, dtype=np.uint16)
        return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float16).astype(np.float64)

    def _occurring(self) -> np.ndarray:
        """The bins that are not empty, the highest score first."""
        return np.flatnonzero(self.healthy + self.lesion)[::-1]

    def _at_thresholds(self) -> tuple[np.ndarray, np.ndarray]:
        """How many lesion voxels, and how many voxels, there are from each score that occurs on, the highest first."""
        bins = self._occurring()
        hits = np.cumsum(self.lesion[bins])
        return hits, hits + np.cumsum(self.healthy[bins])


def count(scores: np.ndarray, truth: np.ndarray) -> ScoreCounts:
    """Count the voxels of the brain by score.

    Args:
        scores: Any shape, voxels of the brain only; larger means more anomalous. Infinite ones are allowed.
        truth: Boolean, same shape: whether a voxel is lesion.

    Raises:
        ValueError: A score is NaN or beyond what half precision can hold (65504), or the shapes differ.
    """
    if scores.shape != truth.shape:
        raise ValueError(f"Scores {scores.shape} and truth {truth.shape} differ in shape.")
    bins = _bins(scores)
    lesion = np.bincount(bins[truth.astype(bool)], minlength=BINS)
    return ScoreCounts(np.bincount(bins.ravel(), minlength=BINS) - lesion, lesion)


def _bins(scores: np.ndarray) -> np.ndarray:
    """The bin of each score. The bit patterns of numbers of one sign are in their order; those below 0 run backward."""
    with np.errstate(over="ignore"):
        halves = scores.astype(np.float16)
    if np.isnan(halves).any() or np.any(np.isinf(halves) & np.isfinite(scores)):
        raise ValueError(f"Scores must be numbers from -{_LARGEST:.0f} to {_LARGEST:.0f}: scale them.")
    patterns = (halves + np.float16(0)).view(np.uint16)  # so that -0 and 0 are one
    return np.where(patterns & _SIGN, ~patterns, patterns | _SIGN)


_LARGEST = float(np.finfo(np.float16).max)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
