"""Functions of intensities inside a brain that several parts use."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SMOOTHING = ("gaussian", "median", "none")
WIDEST = 16.0  # standard deviation in voxels; more would blur whole lobes
LARGEST_CUBE = 7  # side of the median's cube in voxels; more would take minutes
_AT_ONCE = 1 << 24  # values of neighborhoods that are sorted together


def ranked(values: np.ndarray) -> np.ndarray:
    """Rank of each of many values (flat), from 1; equal ones share the mean of theirs.

    As `scipy.stats.rankdata`, whose import takes as long as preparing half a scan.
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def rank_normalized(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Rank of each intensity inside the brain, in (0, 1].

    Args:
        volume: Scan or reconstruction, any units.
        mask: Brain, boolean, same shape.

    Returns:
        float32, 0 outside the mask.
    """
    ranks = np.zeros(volume.shape, np.float32)
    if mask.any():
        ranks[mask] = ranked(volume[mask]) / mask.sum()
    return ranks


def require_smoothing(smoothing: str, size: float) -> None:
    """Raise ValueError unless there is such a smoothing; see :func:`smoothed`."""
    if smoothing not in SMOOTHING:
        raise ValueError(f"smoothing is one of {SMOOTHING}")
    if smoothing == "median" and size not in range(1, LARGEST_CUBE + 1, 2):
        raise ValueError(f"the size of a median is an odd whole number from 1 to {LARGEST_CUBE}")
    if not 0 < size <= WIDEST:
        raise ValueError(f"the size of a smoothing is above 0 and at most {WIDEST:g}")


def smoothed(values: np.ndarray, mask: np.ndarray, smoothing: str, size: float) -> np.ndarray:
    """Smooth a map inside the mask, by what lies inside alone, so that the rim of the brain keeps its level.

    Args:
        values: Map (z, y, x).
        mask: Brain, boolean, same shape.
        smoothing: "gaussian", "median" or "none".
        size: Standard deviation of the Gaussian, or side of the median's cube, in voxels.

    Returns:
        float32, 0 outside the mask.
    """
    if smoothing == "median":
        values = _median(values, mask, int(size))
    elif smoothing == "gaussian":
        weight = ndimage.gaussian_filter(mask.astype(np.float32), size)
        values = ndimage.gaussian_filter(values * mask, size) / np.maximum(weight, 1e-6)
    return np.where(mask, values, 0).astype(np.float32)


def _median(values: np.ndarray, mask: np.ndarray, side: int) -> np.ndarray:
    """Median over those voxels of a cube around each voxel of the mask that are in the mask; 0 outside."""
    reach = side // 2
    inside = np.pad(np.where(mask, values, np.nan).astype(np.float32), reach, constant_values=np.nan)
    cubes = np.lib.stride_tricks.sliding_window_view(inside, (side,) * 3)
    result = np.zeros(values.shape, np.float32)
    voxels = np.argwhere(mask)
    step = max(_AT_ONCE // side**3, 1)
    for start in range(0, len(voxels), step):
        part = tuple(voxels[start : start + step].T)
        near = np.sort(cubes[part].reshape(len(part[0]), -1), axis=1)  # NaN comes last
        count = np.isfinite(near).sum(axis=1)
        rows = np.arange(len(near))
        result[part] = (near[rows, (count - 1) // 2] + near[rows, count // 2]) / 2
    return result
