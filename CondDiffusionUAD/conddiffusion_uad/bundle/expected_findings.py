"""How many findings a healthy brain has at a threshold: what a user may expect of false ones, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

_LEVELS = 24  # thresholds at which findings are counted
_SHARES = (0.1, 1e-6)  # of the healthy voxels above the lowest and the highest of them
MOST = 30.0  # findings of one scan that the bound reckons with; a scan with more counts as that many


@dataclass(frozen=True)
class ExpectedFindings:
    """Findings in healthy scans that nothing was trained on, by threshold.

    Attributes:
        thresholds: Of the map or score, increasing.
        counts: Mean number of findings of a scan at each threshold and above it, never increasing.
        scans: How many scans were counted.
    """

    thresholds: tuple[float, ...]
    counts: tuple[float, ...]
    scans: int

    @classmethod
    def measure(cls, healthy: Sequence[np.ndarray], voxel_ml: float, least_ml: float) -> ExpectedFindings:
        """Count findings in whole healthy scans.

        Lowering a threshold lets findings flow together, so that there may be fewer of them. What counts at a threshold
        is the largest number at it or above, which can only grow as the threshold falls.

        Args:
            healthy: Maps (z, y, x), 0 outside the brain.
            voxel_ml: Volume of a voxel.
            least_ml: Of the smallest finding.

        Raises:
            ValueError: There is no scan, or no map has a value above 0.
        """
        values = np.concatenate([found[found > 0] for found in healthy]) if len(healthy) else np.zeros(0)
        if not len(values):
            raise ValueError("there are no healthy maps to count findings in")
        shares = np.geomspace(*_SHARES, _LEVELS)
        thresholds = np.unique(np.append(np.quantile(values, 1 - shares), values.max()))
        counts = np.array([[findings(found, t, voxel_ml, least_ml).size for t in thresholds] for found in healthy])
        largest = np.maximum.accumulate(counts[:, ::-1], axis=1)[:, ::-1]
        mean = np.minimum(largest, MOST).mean(0)
        return cls(tuple(thresholds.tolist()), tuple(mean.tolist()), len(healthy))

    def threshold(self, expected: float, *, bounded: bool = False) -> float:
        """The lowest measured threshold with no more than so many expected findings in a healthy scan.

        Args:
            expected: Findings of a healthy scan.
            bounded: Whether the promise shall hold for a new scan from the same population however few were counted:
                with the bound (n mean + MOST) / (n + 1) in place of the mean (conformal risk control, Angelopoulos et
                al., ICLR 2024, for losses of at most MOST that fall with the threshold).

        Raises:
            ValueError: Too few scans were counted to promise that.
        """
        for threshold, count in zip(self.thresholds, self.counts, strict=True):
            promised = (self.scans * count + MOST) / (self.scans + 1) if bounded else count
            if promised <= expected:
                return threshold
        raise ValueError(f"{self.scans} healthy scans are too few to promise {expected:g} findings")

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"thresholds": list(self.thresholds), "counts": list(self.counts), "scans": self.scans}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ExpectedFindings:
        """From plain JSON values. Raises KeyError, TypeError or ValueError when they are none."""
        thresholds, counts = tuple(map(float, values["thresholds"])), tuple(map(float, values["counts"]))
        whole = np.isfinite([*thresholds, *counts]).all()
        if (
            len(thresholds) != len(counts)
            or not whole
            or np.any(np.diff(thresholds) <= 0)
            or np.any(np.diff(counts) > 0)
        ):
            raise ValueError("thresholds must increase and counts must not")
        return cls(thresholds, counts, int(values["scans"]))


def findings(found: np.ndarray, threshold: float, voxel_ml: float, least_ml: float) -> np.ndarray:
    """Volumes, ml, of the 26-connected findings at or above a threshold that are not too small."""
    flagged = sitk.GetImageFromArray((found >= threshold).astype(np.uint8))
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(flagged, True))
    volumes = np.bincount(labels.ravel())[1:] * voxel_ml
    return volumes[volumes >= least_ml]
