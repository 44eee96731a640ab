"""Scores that need no trained model; what a trained one has to beat."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.anomaly_map.residual import Residual
from conddiffusion_uad.method.intensity import rank_normalized

BLUR_VOXELS = 4.0  # standard deviation of the blur residual's Gaussian
MAD_TO_SIGMA = 1.4826  # of a normal distribution


def blur_residual(volume: np.ndarray, mask: np.ndarray, sigma: float = BLUR_VOXELS) -> np.ndarray:
    """``|x - G x|`` with the Gaussian normalized inside the brain: what a useless autoencoder would give; 0 outside."""
    weight = np.maximum(ndimage.gaussian_filter(mask.astype(np.float32), sigma), 1e-6)
    blurred = ndimage.gaussian_filter(volume * mask, sigma) / weight
    return np.where(mask, np.abs(volume - blurred), 0).astype(np.float32)


def robust_z(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``|x - median| / (1.4826 MAD)`` of the brain's intensities; 0 outside and in a brain of one intensity."""
    if not mask.any():
        return np.zeros(volume.shape, np.float32)
    median = np.median(volume[mask])
    deviation = MAD_TO_SIGMA * np.median(np.abs(volume[mask] - median))
    z = np.abs(volume - median) / deviation if deviation > 0 else np.zeros(volume.shape)
    return np.where(mask, z, 0).astype(np.float32)


def asymmetry(volume: np.ndarray, mask: np.ndarray, grid: Grid | None) -> np.ndarray:
    """``|x - x mirrored|`` at the mid-sagittal plane; 0 outside the brain and where the mirrored place is outside.

    Args:
        volume: Axes (z, y, x), x from right to left.
        mask: Brain, boolean, same shape.
        grid: Where the voxels lie in the atlas, whose plane x = 0 is the mirror; None mirrors at the brain's middle.
    """
    if grid is None:
        x = np.flatnonzero(mask.any(axis=(0, 1)))
        middle = (x[0] + x[-1]) / 2 if len(x) else 0.0
    else:
        middle = -grid.origin[0] / grid.spacing[0]
    mirrored, there = (_mirrored(values.astype(np.float32), middle) for values in (volume * mask, mask))
    both = mask & (there > 0.5)
    return np.where(both, np.abs(volume - mirrored / np.maximum(there, 0.5)), 0).astype(np.float32)


def _mirrored(values: np.ndarray, middle: float) -> np.ndarray:
    """Values (z, y, x) mirrored at the place `middle` along x, linear between voxels, 0 beyond the grid."""
    at = 2 * middle - np.arange(values.shape[2])
    low = np.floor(at).astype(int)
    share = (at - low).astype(np.float32)
    padded = np.pad(values, ((0, 0), (0, 0), (1, 1)))
    below, above = (padded[:, :, np.clip(i + 1, 0, values.shape[2] + 1)] for i in (low, low + 1))
    return (1 - share) * below + share * above


def baseline_maps(
    volume: np.ndarray, mask: np.ndarray, rule: Residual, grid: Grid | None, seed: int = 0
) -> dict[str, np.ndarray]:
    """The map of each baseline by its name, smoothed as the rule says, 0 outside the mask.

    What is brightest is suspect (Meissen et al. 2021), or what is darkest, or what is unusual in this brain, or what
    differs from its surroundings or from the other side; and what chance says.
    """
    ranks = rank_normalized(volume, mask)
    maps = {
        "equalized intensity": ranks,
        "1 - equalized intensity": mask - ranks,
        "robust z-score": robust_z(volume, mask),
        "blur residual": blur_residual(volume, mask),
        "asymmetry": asymmetry(volume, mask, grid),
        "random": np.random.default_rng(seed).random(volume.shape, np.float32),
    }
    return {name: rule.smoothed(values, mask) for name, values in maps.items()}
