"""Values brought from a grid to a smaller one of the same voxels."""

from __future__ import annotations

import numpy as np

from conddiffusion_uad.io.volume import Grid


def crop_to(values: np.ndarray, grid: Grid, wanted: Grid) -> np.ndarray:
    """Of values (z, y, x) on one grid those on a smaller one of the same lattice."""
    low = np.rint((np.array(wanted.origin) - np.array(grid.origin)) / grid.spacing).astype(int)
    return values[tuple(slice(n, n + size) for n, size in zip(low[::-1], wanted.size[::-1], strict=True))]
