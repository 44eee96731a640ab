"""A synthetic brain to measure speed with; needs numpy alone, so that studies can run it beside other versions."""

from __future__ import annotations

import numpy as np


def synthetic_brain(size: tuple[int, int, int], slices: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random intensities in an ellipsoid, and the ellipsoid (z, y, x)."""
    columns, rows, _ = size
    z, y, x = np.indices((slices, rows, columns)) / np.array([slices, rows, columns]).reshape(3, 1, 1, 1) * 2 - 1
    mask = (0.5 * z) ** 2 + y**2 + x**2 < 0.9
    texture = sum(np.sin(k * (5 * x + 3 * y + 2 * z) + k) * np.cos(k * (4 * y - 3 * x)) / k for k in range(1, 8))
    return np.where(mask, 0.5 + 0.15 * texture, 0).astype(np.float32), mask
