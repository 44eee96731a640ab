"""Scores that need no model; what a trained one has to beat."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from conddiffusion_uad.detection.scoring import ResidualRule, equalized, smoothed

BLUR_VOXELS = 4.0  # standard deviation of the blur residual's Gaussian


def blur_residual(volume: np.ndarray, mask: np.ndarray, sigma: float = BLUR_VOXELS) -> np.ndarray:
    """``|x - G x|`` with the Gaussian normalized inside the brain: what a useless autoencoder would give; 0 outside."""
    weight = np.maximum(ndimage.gaussian_filter(mask.astype(np.float32), sigma), 1e-6)
    blurred = ndimage.gaussian_filter(volume * mask, sigma) / weight
    return np.where(mask, np.abs(volume - blurred), 0).astype(np.float32)


def baseline_maps(volume: np.ndarray, mask: np.ndarray, rule: ResidualRule) -> dict[str, np.ndarray]:
    """The map of each baseline by its name, smoothed as the rule says, 0 outside the mask.

    What is brightest is suspect (Meissen et al. 2021), or what is darkest, or what differs from its surroundings.
    """
    ranks = equalized(volume, mask)
    maps = {
        "equalized intensity": ranks,
        "1 - equalized intensity": mask - ranks,
        "blur residual": blur_residual(volume, mask),
    }
    return {name: smoothed(values, mask, rule) for name, values in maps.items()}
