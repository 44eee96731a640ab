"""A map in which what is large counts for more: neighbors that are unusual, too, make a voxel more unusual.

Threshold-free cluster enhancement (Smith and Nichols, NeuroImage 2009): a voxel is worth the sum, over the levels up to
its score h, of e^E h^2 dh, where e is the extent of what is connected with it at that level. Here e counts in units of
:data:`LEAST_ML` and for no less than one, and the sum is brought back to the unit of the score by its cubic root. So
nothing loses, and what is smaller than that keeps its score.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from conddiffusion_uad.method.brain import bounding_box

LEAST_ML = 3.0
LEVELS = np.arange(3.0, 8.5, 0.5, dtype=np.float32)
"""From one of 1,000 healthy voxels on; far below it, most of a brain is connected. Above the last, that one counts."""


def enlarged(found: np.ndarray, voxel_ml: float, power: float) -> np.ndarray:
    """The map with what is large raised.

    Args:
        found: Map, ``-log10`` of a share of healthy tissue, float32 (z, y, x).
        voxel_ml: Volume of a voxel.
        power: E; 0 changes nothing.

    Returns:
        float32, same shape.
    """
    above = found >= LEVELS[0]
    if power == 0 or not above.any():
        return found
    box = bounding_box(above)
    near, places = found[box], np.flatnonzero(above[box])
    scores = near.ravel()[places]
    cubes = np.full(len(places), float(LEVELS[0]) ** 3)  # below the first level nothing counts for more
    for level, upper in zip(LEVELS, [*LEVELS[1:], np.inf], strict=True):
        here = scores >= level
        parts = ndimage.label(near >= level)[0].ravel()[places[here]]
        extent = np.maximum(np.bincount(parts) * (voxel_ml / LEAST_ML), 1) ** power
        cubes[here] += extent[parts] * (np.minimum(scores[here], upper) ** 3 - level**3)
    raised = found.copy()
    raised[above] = np.maximum(scores, np.cbrt(cubes))
    return raised
