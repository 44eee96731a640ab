"""Counting findings in healthy scans: what a bundle can promise of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.protocol.expected_findings import MOST, ExpectedFindings

_LEVELS = 120  # thresholds at which findings are counted
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
    thresholds: np.ndarray,
    counted: np.ndarray,
    least_ml: float,
    largest: Sequence[float] = (),
    brains: Sequence[str] | None = None,
) -> ExpectedFindings:
    """What counted findings (scans, thresholds) let expect.

    Args:
        largest: The largest value of each scan.
        brains: Which brain each scan shows; None: each another one. All brains weigh the same.

    Lowering a threshold lets findings flow together, so that there may be fewer of them. What counts at a threshold
    is the largest number at it or above, which can only grow as the threshold falls.

    The lowest threshold where few scans have a wanted mean number suits these scans better than others. So what is
    told is what a brain's scans have where those of the *other* brains have that mean, if it is more (leave-one-out
    cross-validation).
    """
    highest = np.minimum(_falling(counted), MOST)
    of_brains = highest if brains is None else _means(highest, brains)
    mean = of_brains.mean(0)
    if len(of_brains) > 1:
        mean = _falling(np.maximum(mean, _left_out(of_brains, mean)))
    return ExpectedFindings(
        tuple(thresholds.tolist()),
        tuple(mean.tolist()),
        len(counted),
        float(least_ml),
        tuple(sorted(largest)),
        None if brains is None else len(of_brains),
    )


def _means(counted: np.ndarray, brains: Sequence[str]) -> np.ndarray:
    """Mean of the scans of each brain, (brains, thresholds)."""
    of = [np.array([each == brain for each in brains]) for brain in sorted(set(brains))]
    return np.array([counted[mine].mean(0) for mine in of])


def _falling(counted: np.ndarray) -> np.ndarray:
    """The largest number at a threshold, along the last axis, or at a higher one."""
    return np.maximum.accumulate(counted[..., ::-1], axis=-1)[..., ::-1]


def _left_out(counted: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Mean number of findings of each brain at the lowest threshold where all others have a mean, for each of them."""
    scans, levels = counted.shape
    others = (counted.sum(0) - counted) / (scans - 1)  # never increasing with the threshold
    places = [np.searchsorted(-other, -mean).clip(max=levels - 1) for other in others]
    return np.mean([own[place] for own, place in zip(counted, places, strict=True)], axis=0)


def findings(found: np.ndarray, threshold: float, voxel_ml: float, least_ml: float) -> np.ndarray:
    """Volumes, ml, of the 26-connected findings at or above a threshold that are not too small."""
    flagged = sitk.GetImageFromArray((found >= threshold).astype(np.uint8))
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(flagged, True))
    volumes = np.bincount(labels.ravel())[1:] * voxel_ml
    return volumes[volumes >= least_ml]
