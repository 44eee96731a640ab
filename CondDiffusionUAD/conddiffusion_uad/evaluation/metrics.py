"""Figures of merit of a score map."""

from __future__ import annotations

import numpy as np


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the precision-recall curve: the sum over thresholds of ``(R_n - R_{n-1}) P_n``.

    Equal scores share one threshold. A random score has the prevalence ``truth.mean()``.

    Args:
        scores: Any shape; larger means more anomalous.
        truth: Boolean, same shape.

    Returns:
        Between 0 and 1; NaN when nothing is true.
    """
    if not truth.any():
        return float("nan")
    hits, flagged = _at_thresholds(scores, truth)
    recall_steps = np.diff(hits, prepend=0) / hits[-1]
    return float(np.sum(recall_steps * hits / flagged))


def dice(flagged: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient ``2 |A and B| / (|A| + |B|)`` of two boolean arrays; NaN when both are empty."""
    total = int(flagged.sum()) + int(truth.sum())
    return 2 * int((flagged & truth).sum()) / total if total else float("nan")


def best_dice(scores: np.ndarray, truth: np.ndarray) -> float:
    """The highest Dice coefficient that any threshold on the scores reaches; NaN when nothing is true."""
    if not truth.any():
        return float("nan")
    hits, flagged = _at_thresholds(scores, truth)
    return float(np.max(2 * hits / (flagged + hits[-1])))


def _at_thresholds(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many voxels are true, and how many there are, from each distinct score on, the highest first."""
    scores, truth = scores.ravel(), truth.ravel().astype(bool)
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    return np.cumsum(truth[order])[last_of_ties], last_of_ties + 1
