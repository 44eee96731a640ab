"""A map fitted to the scan, neighborhood by neighborhood, so that it ends where the scan's intensities change.

The guided filter of He, Sun and Tang (IEEE TPAMI 2013), within the brain alone: near each voxel the map is taken for
a straight line of the intensity, ``a I + b`` with ``a = cov(I, map) / (var(I) + eps)``, and the lines of all
neighborhoods that a voxel lies in are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

SMALLEST_EDGE = 0.1
"""Root of eps: steps of normalized intensity that are far smaller than this are smoothed over."""


def guided(found: np.ndarray, scan: np.ndarray, mask: np.ndarray, reach: Sequence[int]) -> np.ndarray:
    """The map ``found`` as the scan's intensities tell it.

    Args:
        found: Map, float32 (z, y, x).
        scan: Intensities, normalized to [0, 1], float32, same shape.
        mask: Brain, boolean, same shape; nothing outside of it counts.
        reach: Voxels along z, y, x from the middle of a neighborhood to its end.

    Returns:
        float32, same shape, 0 outside the mask. It may be less than 0.
    """
    inside = mask.astype(np.float32)
    size = [2 * voxels + 1 for voxels in reach]
    share = ndimage.uniform_filter(inside, size, mode="constant")

    def mean(values: np.ndarray) -> np.ndarray:
        within = ndimage.uniform_filter(values * inside, size, mode="constant")
        return np.divide(within, share, out=np.zeros_like(within), where=mask)

    middle, level = mean(scan), mean(found)
    spread = np.maximum(mean(scan * scan) - middle**2, 0)
    slope = (mean(scan * found) - middle * level) / (spread + np.float32(SMALLEST_EDGE**2))
    return (mean(slope) * scan + mean(level - slope * middle)) * inside
