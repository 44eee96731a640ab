"""From an anomaly map to an anomaly score: calibration on healthy scans."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# The tail probabilities at which a calibration stores residuals: from half of the healthy voxels to 1 in 10,000.
TAIL_SCORES = tuple(np.round(np.concatenate([[-math.log10(0.5)], np.arange(0.4, 4.01, 0.1)]), 4).tolist())

HIGHEST = 1000.0  # score; no probability is told to be smaller than 1e-1000
FLATTEST = 0.02  # share of the last residual that the last unit of score spans at least: healthy maps have plateaus
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

    def score(self, anomaly_map: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The anomaly score: ``-log10`` of the fraction of healthy voxels where the map is as large.

        Linear between the calibrated points. Above the last point the line through the last whole unit of score goes
        on (an exponential tail), so that large values keep their order; below the first point the score falls linearly
        to 0 at 0.

        Args:
            anomaly_map: Not negative, any shape.
            mask: Brain, boolean, same shape.

        Returns:
            float32, same shape, 0 to ``HIGHEST``, 0 outside the mask.
        """
        known = np.array(self.residuals) > 0
        scores = np.append(0.0, np.array(self.scores)[known])
        points = np.append(0.0, np.array(self.residuals)[known])
        last = min(np.searchsorted(scores, scores[-1] - 1), len(scores) - 2)
        rise = max(points[-1] - points[last], FLATTEST * points[-1])
        beyond = np.maximum(anomaly_map - points[-1], 0) * ((scores[-1] - scores[last]) / rise)
        scored = np.where(mask, np.interp(anomaly_map, points, scores) + beyond, 0)
        return np.minimum(scored, HIGHEST).astype(np.float32)

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
            or min(scores[0], residuals[0]) < 0
        ):
            raise ValueError("scores and residuals must be of one length, increase and not be negative")
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


def threshold(healthy_flagged: float) -> float:
    """The score that a fraction ``healthy_flagged`` of healthy tissue exceeds."""
    return -math.log10(healthy_flagged)
