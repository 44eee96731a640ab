"""A synthetic axial slice with its skull, for tests of what finds the brain in one."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def head(radius: float = 60.0) -> tuple[np.ndarray, np.ndarray]:
    """A T2-like slice of a head, and its brain: brain in fluid, in dark bone, in bright scalp."""
    y, x = np.indices((190, 150))
    distance = np.hypot((y - 95) / 1.25, x - 75)
    image = np.select(
        [distance < 0.85 * radius, distance < 0.92 * radius, distance < radius, distance < 1.08 * radius],
        [0.35, 0.9, 0.05, 0.6],
        0.0,
    )
    image[80:110, 70:80] = 0.9  # ventricles
    return ndimage.gaussian_filter(image + np.random.default_rng(0).normal(0, 0.01, image.shape), 0.6), (
        distance < 0.92 * radius
    )
