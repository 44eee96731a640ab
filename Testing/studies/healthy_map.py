"""How large residuals usually are at each place of a healthy brain: `compare.py --healthy` divides residuals by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.method.run import score
from conddiffusion_uad.training.calibration import healthy_brains
from conddiffusion_uad.training.data.corpus import Part

SMOOTHING = 3.0  # standard deviation in voxels: few scans tell only about the neighborhood


def healthy_map(bundle: Bundle, corpus: Sequence[Part], contrast: str, seed: int = 0) -> np.ndarray:
    """Mean residual of the held-out healthy volumes on the bundle's grid, relative to its mean, (z, y, x).

    Thin volumes are left out: they show one place of a brain.
    """
    shape = bundle.config.grid.size[::-1]
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for part in corpus:
        for healthy in healthy_brains(part, contrast, bundle.config.grid, seed):
            if not healthy.thin:
                total += score(bundle, healthy.brain, contrast, seed=seed).anomaly_map
                count += healthy.brain.mask
    share = ndimage.gaussian_filter(count, SMOOTHING)
    mean = ndimage.gaussian_filter(total, SMOOTHING) / np.maximum(share, 1e-3)
    inside = count > 0
    return np.where(inside, mean / mean[inside].mean(), 1.0).astype(np.float32)


def divided(residuals: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Residuals divided by what is usual at each place; 0.5 keeps places without residuals from taking over."""
    return residuals / (usual + 0.5)
