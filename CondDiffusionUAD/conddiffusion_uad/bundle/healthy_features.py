"""How far a scan is from healthy ones in the eyes of the encoder: a Mahalanobis distance of its features.

The idea of checking the input by the features of the model itself is that of HAND (arXiv:2409.11534).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices

BATCH = 16  # slices at once
LEAST_MM2 = 1600.0  # of brain in a slice; smaller ones say little
DIRECTIONS = 24  # of the covariance that are kept as they are
SLICES_A_DIRECTION = 4  # at least, so that its variance is known
_DIGITS = 6


@dataclass(frozen=True)
class HealthyFeatures:
    """The encoder's features of slices of healthy scans of one contrast, as a Gaussian.

    The covariance is shrunk: the main directions keep their variance, all others get the mean of what is left.

    Attributes:
        mean: (features,).
        directions: Orthonormal, (directions, features).
        variances: Along the directions, (directions,).
        rest: Variance along every other direction.
        usual: The largest distance of a healthy scan that the model was not trained on.
        scans: How many scans it was measured on, slices of one archive counted as one.
    """

    mean: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    rest: float
    usual: float
    scans: int

    @classmethod
    def measure(cls, healthy: Sequence[np.ndarray], unseen: Sequence[np.ndarray]) -> HealthyFeatures:
        """Fit to healthy scans.

        Args:
            healthy: Features of the slices of each scan that the model was trained on, (slices, features).
            unseen: The same of scans that it was not trained on, which say how far a healthy one may be.

        Raises:
            ValueError: There is no scan of either kind, or only one slice.
        """
        if not unseen or sum(map(len, healthy)) < 2:
            raise ValueError("Healthy features need two slices, and a scan that was not trained on.")
        slices = np.concatenate(healthy).astype(np.float64)
        count = slices.shape[1]
        values, vectors = np.linalg.eigh(np.cov(slices.T).reshape(count, count))
        kept = max(1, min(DIRECTIONS, count - 1, len(slices) // SLICES_A_DIRECTION))
        rest = float(values[:-kept].mean()) if kept < count else 0.0
        least = max(float(values.mean()), 1e-6) * 1e-3
        order = slice(None, -kept - 1, -1)
        mean, directions = slices.mean(axis=0), vectors.T[order]
        fitted = cls(mean, directions, np.maximum(values[order], least), max(rest, least), 0.0, len(healthy))
        fitted = replace(fitted, usual=max(fitted.distance(scan) for scan in unseen))
        return cls.from_json(fitted.to_json())  # as it will be read back, digit for digit

    def distance(self, features: np.ndarray) -> float:
        """Squared Mahalanobis distance per feature, its median over the slices; about 1 in healthy scans.

        Args:
            features: Those of the slices of one scan, shape (slices, features); not empty.
        """
        away = features - self.mean
        along = away @ self.directions.T
        beside = np.maximum((away**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        squared = (along**2 / self.variances).sum(axis=1) + beside / self.rest
        return float(np.median(squared)) / len(self.mean)

    def relative(self, features: np.ndarray) -> float:
        """The distance as a multiple of the largest usual one."""
        return self.distance(features) / self.usual

    def to_json(self) -> dict[str, Any]:
        return {
            "mean": _rounded(self.mean),
            "directions": [_rounded(direction) for direction in self.directions],
            "variances": _rounded(self.variances),
            "rest": float(f"{self.rest:.{_DIGITS}g}"),
            "usual": round(self.usual, 3),
            "scans": self.scans,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> HealthyFeatures:
        """Raises KeyError, TypeError or ValueError when the values are none."""
        mean, directions, variances = (np.array(values[k], float) for k in ("mean", "directions", "variances"))
        rest, usual = float(values["rest"]), float(values["usual"])
        if mean.ndim != 1 or directions.shape != (len(variances), len(mean)) or variances.ndim != 1:
            raise ValueError("mean, directions and variances do not fit together")
        if not (variances > 0).all() or not rest > 0 or not usual > 0:
            raise ValueError("variances and the usual distance must be positive")
        if not all(np.isfinite(value).all() for value in (mean, directions, variances, rest, usual)):
            raise ValueError("all must be finite: no distance is above a limit that is not a number")
        return cls(mean, directions, variances, rest, usual, int(values["scans"]))


@torch.inference_mode()
def slice_features(
    volume: np.ndarray, mask: np.ndarray, spacing: Sequence[float], model: ConditionedDiffusion
) -> np.ndarray:
    """The encoder's features of the axial slices that show enough brain, (slices, features).

    Args:
        volume: Normalized scan in [0, 1], axes (z, y, x).
        mask: Brain mask, same shape.
        spacing: Along x, y, z, mm.
        model: On the device that shall compute.
    """
    shown = np.flatnonzero(mask.sum(axis=(1, 2)) * spacing[0] * spacing[1] >= LEAST_MM2)
    features = [np.zeros((0, model.features), np.float32)]
    for start in range(0, len(shown), BATCH):
        images = np.ascontiguousarray(volume[shown[start : start + BATCH]], np.float32)
        slices = Slices.of(torch.from_numpy(images).unsqueeze(1).to(model.device))
        features.append(model.encoder(slices).cpu().numpy())
    return np.concatenate(features)


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values.tolist()]
