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
    return area_under_precision_recall(*_at_thresholds(scores, truth))


def auroc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the receiver operating characteristic: how often what is true scores higher than what is not.

    Equal scores count one half. A random score has 0.5 whatever the prevalence.

    Args:
        scores: Any shape; larger means more anomalous.
        truth: Boolean, same shape.

    Returns:
        Between 0 and 1; NaN when nothing is true, or everything.
    """
    return area_under_roc(*_at_thresholds(scores, truth))


def dice(flagged: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient ``2 |A and B| / (|A| + |B|)`` of two boolean arrays; NaN when both are empty."""
    total = int(flagged.sum()) + int(truth.sum())
    return 2 * int((flagged & truth).sum()) / total if total else float("nan")


def best_dice(scores: np.ndarray, truth: np.ndarray) -> float:
    """The highest Dice coefficient that any threshold on the scores reaches; NaN when nothing is true."""
    if not truth.any():
        return float("nan")
    return float(np.max(dice_coefficients(*_at_thresholds(scores, truth))))


def area_under_precision_recall(hits: np.ndarray, flagged: np.ndarray) -> float:
    """Average precision from counts.

    Args:
        hits: How many voxels are flagged and true at each threshold, the highest threshold first.
        flagged: How many are flagged, at least one at each threshold, all of them at the last.

    Returns:
        Between 0 and 1; NaN when nothing is true.
    """
    if not (len(hits) and hits[-1]):
        return float("nan")
    return float(np.sum(np.diff(hits, prepend=0) / hits[-1] * (hits / flagged)))


def area_under_roc(hits: np.ndarray, flagged: np.ndarray) -> float:
    """AUROC by the trapezoidal rule from the counts that :func:`area_under_precision_recall` takes.

    Returns:
        Between 0 and 1; NaN when nothing is true, or everything.
    """
    false = flagged - hits
    if not (len(hits) and hits[-1] and false[-1]):
        return float("nan")
    recall = np.append(0, hits) / hits[-1]
    return float(np.sum(np.diff(false, prepend=0) / false[-1] * (recall[1:] + recall[:-1]) / 2))


def dice_coefficients(hits: np.ndarray, flagged: np.ndarray) -> np.ndarray:
    """Dice coefficient at each threshold from the counts that :func:`area_under_precision_recall` takes."""
    return 2 * hits / (flagged + hits[-1])


def _at_thresholds(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many voxels are true, and how many there are, from each distinct score on, the highest first."""
    scores, truth = scores.ravel(), truth.ravel().astype(bool)
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True)[: len(scores)])
    return np.cumsum(truth[order])[last_of_ties], last_of_ties + 1
