"""A map in which large anomalies have neither gaps nor holes: what a rim nearly encloses is raised with it.

A mass with a dead, bleeding or cystic core is unusual at its rim, which may be open, and patchy inside. At each level,
what is connected and large is closed in each slice (Matheron 1975) by a disk that grows with it, and its holes filled.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from conddiffusion_uad.method.anomaly_map.extent import LEAST_ML, LEVELS

MOST_MM = 20.0
"""Largest radius of the disk."""
MOST_SHARE = 0.3
"""Of the brain; what is larger is no anomaly, but a scan that the map fails on, and stays as it is."""


def closed(found: np.ndarray, mask: np.ndarray, spacing: tuple[float, float, float], reach: float) -> np.ndarray:
    """The map with the gaps in what is large raised to the highest of :data:`LEVELS` at which they are closed.

    Args:
        found: Map, ``-log10`` of a share of healthy tissue, float32 (z, y, x).
        mask: Brain, boolean, same shape; nothing is raised outside.
        spacing: mm along x, y, z.
        reach: Radius of the disk, in radii of a ball as large as what is closed, up to :data:`MOST_MM`; 0 for none.

    Returns:
        float32, same shape.
    """
    if reach == 0 or not mask.any():
        return found
    raised, voxel_ml = found.copy(), math.prod(spacing) / 1000
    most_ml = MOST_SHARE * mask.sum() * voxel_ml
    for level in LEVELS:
        parts = ndimage.label(found >= level)[0]
        volumes = np.bincount(parts.ravel()) * voxel_ml
        for part, box in enumerate(ndimage.find_objects(parts), 1):
            if LEAST_ML <= volumes[part] <= most_ml:
                radius = min(reach * (volumes[part] * 750 / math.pi) ** (1 / 3), MOST_MM)
                whole = np.stack([_closed(each, spacing[1::-1], radius) for each in parts[box] == part]) & mask[box]
                raised[box] = np.maximum(raised[box], level * whole)
    return raised


def _closed(plane: np.ndarray, spacing: tuple[float, float], radius: float) -> np.ndarray:
    """A plane of a part, closed by a disk and without holes."""
    if not plane.any():
        return plane
    margin = [math.ceil(radius / step) + 1 for step in spacing]
    around = np.pad(plane, [(each, each) for each in margin])
    dilated = ndimage.distance_transform_edt(~around, spacing) <= radius
    eroded = ndimage.distance_transform_edt(dilated, spacing) > radius
    inner = tuple(slice(each, -each) for each in margin)
    return ndimage.binary_fill_holes(eroded[inner])
