"""Counting findings in healthy scans: what a bundle can promise of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.protocol.expected_findings import MOST, ExpectedFindings

_LEVELS = 60  # thresholds at which findings are counted
_SHARES = (0.1, 1e-6)  # of the healthy voxels above the lowest and the highest of them


def measure(healthy: Sequence[np.ndarray], voxel_ml: float, least_ml: float) -> ExpectedFindings:
    """Count findings in whole healthy scans.

    Args:
        healthy: Maps (z, y, x), 0 outside the brain.
        voxel_ml: Volume of a voxel.
        least_ml: Of the smallest finding.

    Raises:
        ValueError: There is no scan, or no map has a value above 0.
    """
    thresholds = levels(healthy)
    largest = [float(found.max()) for found in healthy]
    return promised(thresholds, counts(healthy, thresholds, voxel_ml, least_ml), least_ml, largest)


def levels(healthy: Sequence[np.ndarray]) -> np.ndarray:
    """Thresholds, increasing, at which it is worth counting findings in healthy maps. Raises as :func:`measure`."""
    values = np.concatenate([found[found > 0] for found in healthy]) if len(healthy) else np.zeros(0)
    if not len(values):
        raise ValueError("there are no healthy maps to count findings in")
    shares = np.geomspace(*_SHARES, _LEVELS)
    return np.unique(np.append(np.quantile(values, 1 - shares), values.max()))


def counts(healthy: Sequence[np.ndarray], thresholds: np.ndarray, voxel_ml: float, least_ml: float) -> np.ndarray:
    """Findings of each map at each threshold, (maps, thresholds)."""
    return np.array([[findings(found, t, voxel_ml, least_ml).size for t in thresholds] for found in healthy])


def promised(
    thresholds: np.ndarray, counted: np.ndarray, least_ml: float, largest: Sequence[float] = ()
) -> ExpectedFindings:
    """What counted findings (scans, thresholds) let expect; ``largest`` is the largest value of each scan.

    Lowering a threshold lets findings flow together, so that there may be fewer of them. What counts at a threshold
    is the largest number at it or above, which can only grow as the threshold falls.
    """
    highest = np.maximum.accumulate(counted[:, ::-1], axis=1)[:, ::-1]
    mean = np.minimum(highest, MOST).mean(0)
    return ExpectedFindings(
        tuple(thresholds.tolist()), tuple(mean.tolist()), len(counted), float(least_ml), tuple(sorted(largest))
    )


def findings(found: np.ndarray, threshold: float, voxel_ml: float, least_ml: float) -> np.ndarray:
    """Volumes, ml, of the 26-connected findings at or above a threshold that are not too small."""
    flagged = sitk.GetImageFromArray((found >= threshold).astype(np.uint8))
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(flagged, True))
    volumes = np.bincount(labels.ravel())[1:] * voxel_ml
    return volumes[volumes >= least_ml]
