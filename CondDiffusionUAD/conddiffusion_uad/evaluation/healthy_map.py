"""How large residuals usually are at each place of a healthy brain, for an experiment: to divide residuals by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from conddiffusion_uad.detection.reconstruction import reconstruct
from conddiffusion_uad.detection.scoring import residual
from conddiffusion_uad.model.bundle import Bundle
from conddiffusion_uad.training.calibration import healthy_volumes
from conddiffusion_uad.training.corpus import Part
from conddiffusion_uad.volume import Grid

SMOOTHING = 3.0  # standard deviation in voxels: few scans tell only about the neighborhood


def healthy_map(bundle: Bundle, corpus: Sequence[Part], contrast: str, seed: int = 0) -> np.ndarray:
    """Mean residual of the held-out healthy volumes on the bundle's grid, relative to its mean, (z, y, x).

    Single slices are left out: where in the brain they lie is not known.
    """
    shape = bundle.config.grid.size[::-1]
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for part in corpus:
        if part.source.kind == "slices":
            continue
        for _, volume, mask in healthy_volumes(part, contrast, seed):
            estimate = reconstruct(volume, mask, bundle.model, levels=bundle.config.levels, seed=seed)
            total += residual(volume, estimate, mask, bundle.config.residual[contrast])
            count += mask
    share = ndimage.gaussian_filter(count, SMOOTHING)
    mean = ndimage.gaussian_filter(total, SMOOTHING) / np.maximum(share, 1e-3)
    inside = count > 0
    return np.where(inside, mean / mean[inside].mean(), 1.0).astype(np.float32)


def on_grid(values: np.ndarray, grid: Grid, wanted: Grid) -> np.ndarray:
    """Values (z, y, x) on one grid brought to a larger one of the same lattice, which goes on as at the rim."""
    low = np.rint((np.array(grid.origin) - np.array(wanted.origin)) / grid.spacing).astype(int)
    high = np.array(wanted.size) - np.array(grid.size) - low
    return np.pad(values, list(zip(low[::-1], high[::-1], strict=True)), mode="edge")


def divided(residuals: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Residuals divided by what is usual at each place; 0.5 keeps places without residuals from taking over."""
    return residuals / (usual + 0.5)
