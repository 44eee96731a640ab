"""Thin volumes on the grid of the tiny recipes, which are prepared in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.volume import Grid

SLICES = 8  # of a thin volume; all are alike
_ORIGIN, _SPACING = (-92.0, -78.0, -90.0), 8.0  # of the tiny recipes' grid


def write_thin(file: Path, image: np.ndarray, position: int = 11) -> None:
    """Write a slice (24, 24), 0 outside the brain, as a thin volume that covers the grid's slice at a position."""
    thickness = 0.75
    x, y, z = _ORIGIN
    origin = (x, y, z + position * _SPACING - thickness * (SLICES - 1) / 2)
    grid = Grid((image.shape[1], image.shape[0], SLICES), (_SPACING, _SPACING, thickness), origin)
    file.parent.mkdir(parents=True, exist_ok=True)
    volumes.write(grid.with_array(np.repeat(image[None].astype(np.float32), SLICES, axis=0)), file)


def disks(count: int) -> list[np.ndarray]:
    """Slices (24, 24) of round brains of random sizes and textures."""
    y, x = np.mgrid[:24, :24] - 11.5
    rng = np.random.default_rng(0)
    return [(x**2 + y**2 < r**2) * rng.uniform(80, 120, (24, 24)) for r in rng.uniform(6, 11, count)]
