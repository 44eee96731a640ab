"""Scores that need no model; what a trained one has to beat."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

BLUR_VOXELS = 4.0  # standard deviation of the blur residual's Gaussian


def blur_residual(volume: np.ndarray, mask: np.ndarray, sigma: float = BLUR_VOXELS) -> np.ndarray:
    """``|x - G x|`` with the Gaussian normalized inside the brain: what a useless autoencoder would give; 0 outside."""
    weight = np.maximum(ndimage.gaussian_filter(mask.astype(np.float32), sigma), 1e-6)
    blurred = ndimage.gaussian_filter(volume * mask, sigma) / weight
    return np.where(mask, np.abs(volume - blurred), 0).astype(np.float32)
