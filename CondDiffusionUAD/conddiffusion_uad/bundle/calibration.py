"""From an anomaly map to an anomaly score: calibration on healthy scans."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# The tail probabilities at which a calibration stores residuals: from half of the healthy voxels to 1 in 10,000.
TAIL_SCORES = tuple(np.round(np.concatenate([[-math.log10(0.5)], np.arange(0.4, 4.01, 0.1)]), 4).tolist())

_LEAST_VOXELS = 10  # that must exceed a residual for its probability to be known


@dataclass(frozen=True)
class Calibration:
    """Residuals that healthy brains exceed with known probabilities, for one contrast.

    Healthy brains differ, and a new one may be like any of them. So the largest residual counts: a fraction p of
    voxels, or less, exceeds it in every group of scans.

    Attributes:
        scores: Anomaly scores ``-log10(p)``, increasing.
        residuals: The residual that a fraction p of healthy voxels exceeds, same length, increasing.
        scans: How many healthy scans it was measured on.
    """

    scores: tuple[float, ...]
    residuals: tuple[float, ...]
    scans: int

    @classmethod
    def measure(cls, healthy: Sequence[Sequence[np.ndarray]]) -> Calibration:
        """Calibrate on residuals inside the masks of healthy scans.

        Args:
            healthy: For each group of scans, the residuals of each scan as a flat array. Every scan of a group weighs
                the same.

        Raises:
            ValueError: The voxels are too few to tell anything.
        """
        curves = np.stack([_exceeded(group) for group in healthy])
        known = ~np.isnan(curves).all(axis=0)
        scores = tuple(np.array(TAIL_SCORES)[known].tolist())
        if len(scores) < 2:
            voxels = sum(len(scan) for group in healthy for scan in group)
            raise ValueError(f"{voxels} healthy voxels are too few for a calibration")
        residuals = _strictly_increasing(np.nanmax(curves[:, known], axis=0))
        return cls(scores, tuple(residuals), sum(map(len, healthy)))

    def to_json(self) -> dict[str, Any]:
        return {"scores": list(self.scores), "residuals": list(self.residuals), "scans": self.scans}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """Raises ValueError or KeyError when the values are no calibration."""
        scores, residuals = tuple(map(float, values["scores"])), tuple(map(float, values["residuals"]))
        if (
            len(scores) != len(residuals)
            or len(scores) < 2
            or not np.isfinite([*scores, *residuals]).all()
            or np.any(np.diff(scores) <= 0)
            or np.any(np.diff(residuals) <= 0)
        ):
            raise ValueError("scores and residuals must be of one length and increase")
        return cls(scores, residuals, int(values["scans"]))


def _exceeded(scans: Sequence[np.ndarray]) -> np.ndarray:
    """The residual that each of TAIL_SCORES' fractions of voxels exceeds; NaN where there are too few to tell."""
    values = np.concatenate(scans)
    weights = np.concatenate([np.full(len(scan), 1 / len(scans) / len(scan)) for scan in scans])
    order = np.argsort(values)[::-1]
    exceeding = np.cumsum(weights[order])
    supported = max(exceeding[min(_LEAST_VOXELS, len(values)) - 1], exceeding[0])
    fractions = 10 ** -np.array(TAIL_SCORES)
    return np.where(fractions >= supported, np.interp(fractions, exceeding, values[order]), np.nan)


def _strictly_increasing(values: np.ndarray, least: float = 1e-6) -> list[float]:
    steps = least * np.arange(len(values))
    return (np.maximum.accumulate(values - steps) + steps).tolist()


def anomaly_score(residuals: np.ndarray, mask: np.ndarray, calibration: Calibration) -> np.ndarray:
    """The heatmap: ``-log10`` of the fraction of healthy voxels with a residual as large.

    Linear between the calibrated points. Above the last point the line through the last whole unit of score goes on
    (an exponential tail), so that large residuals keep their order; below the first point the score falls linearly to 0
    at residual 0.

    Returns:
        float32, same shape, not negative, 0 outside the mask.
    """
    known = np.array(calibration.residuals) > 0
    scores = np.append(0.0, np.array(calibration.scores)[known])
    points = np.append(0.0, np.array(calibration.residuals)[known])
    last = min(np.searchsorted(scores, scores[-1] - 1), len(scores) - 2)
    slope = (scores[-1] - scores[last]) / (points[-1] - points[last])
    beyond = np.maximum(residuals - points[-1], 0) * slope
    return np.where(mask, np.interp(residuals, points, scores) + beyond, 0).astype(np.float32)


def threshold(healthy_flagged: float) -> float:
    """The score that a fraction ``healthy_flagged`` of healthy tissue exceeds."""
    return -math.log10(healthy_flagged)
