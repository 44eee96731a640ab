"""How close a reconstruction is to its scan, inside the brain."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import entropy
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

HISTOGRAM_BINS = 100
"""Of equal width over the intensities 0 to 1."""

_PSEUDO_COUNT = 1.0  # voxels added to every bin of both histograms
_SSIM_SIGMA = 1.5  # voxels, of the Gaussian window of Wang et al. 2004
_SSIM_WINDOW = 11  # voxels, its side


def fidelity(
    volume: np.ndarray, reconstruction: np.ndarray, mask: np.ndarray, truth: np.ndarray
) -> dict[str, float | None]:
    """How close a reconstruction is to its scan.

    Background counts nowhere: it is reconstructed exactly, and would make every figure better.

    Args:
        volume: The scan, (z, y, x), in [0, 1].
        reconstruction: Same shape and units.
        mask: Brain, boolean, same shape; not empty.
        truth: Whether a voxel is lesion, boolean, same shape.

    Returns:
        ``l1_healthy`` and ``l1_lesion``, mean absolute differences, None without such voxels; ``l1_ratio``, lesion to
        healthy: above 1 when the lesion is reconstructed worse, as it should be; and :func:`ssim`, :func:`psnr` and
        :func:`histogram_kl`.
    """
    healthy = mean_difference(volume, reconstruction, mask & ~truth)
    lesion = mean_difference(volume, reconstruction, mask & truth)
    return {
        "l1_healthy": healthy,
        "l1_lesion": lesion,
        "l1_ratio": lesion / healthy if lesion is not None and healthy else None,
        "ssim": ssim(volume, reconstruction, mask),
        "psnr": psnr(volume, reconstruction, mask),
        "histogram_kl": histogram_kl(volume, reconstruction, mask),
    }


def mean_difference(volume: np.ndarray, reconstruction: np.ndarray, mask: np.ndarray) -> float | None:
    """Mean absolute difference (l1) over a mask; None when it is empty."""
    if not mask.any():
        return None
    return float(np.abs(volume[mask].astype(np.float64) - reconstruction[mask]).mean())


def ssim(volume: np.ndarray, reconstruction: np.ndarray, mask: np.ndarray) -> float | None:
    """Structural similarity with the Gaussian window of Wang et al. (IEEE Trans. Image Process. 13, 2004).

    The mean over the brain of a map computed in three dimensions. Both are 0 outside the brain, so windows at its rim
    see equal background.

    Returns:
        At most 1; None when the volume is smaller than the window of 11 voxels.
    """
    images = [np.where(mask, image, 0).astype(np.float64) for image in (volume, reconstruction)]
    if min(mask.shape) < _SSIM_WINDOW:
        return None
    _, similarity = structural_similarity(
        *images, data_range=1.0, gaussian_weights=True, sigma=_SSIM_SIGMA, use_sample_covariance=False, full=True
    )
    return float(similarity[mask].mean())


def psnr(volume: np.ndarray, reconstruction: np.ndarray, mask: np.ndarray) -> float | None:
    """Peak signal-to-noise ratio inside the brain, ``-10 log10`` of the mean squared difference, in dB.

    Returns:
        None when there is no difference, and so no ratio.
    """
    if np.array_equal(volume[mask], reconstruction[mask]):
        return None
    inside = (image[mask].astype(np.float64) for image in (volume, reconstruction))
    ratio = float(peak_signal_noise_ratio(*inside, data_range=1.0))
    return ratio if math.isfinite(ratio) else None


def histogram_kl(volume: np.ndarray, reconstruction: np.ndarray, mask: np.ndarray) -> float:
    """Kullback-Leibler divergence of the reconstruction's intensities from the scan's inside the brain, in nats.

    ``sum p ln(p / q)`` with p from the scan. The histograms have :data:`HISTOGRAM_BINS` bins; what lies outside 0 to 1
    is in the outermost. A bin that is empty in q alone would make the divergence infinite; so one voxel is added to
    every bin of both histograms, which leaves equal histograms equal and favors neither.

    Returns:
        Not negative; 0 for equal histograms.
    """
    scan, estimate = (_histogram(image[mask]) for image in (volume, reconstruction))
    return float(entropy(scan, estimate))


def _histogram(values: np.ndarray) -> np.ndarray:
    counts, _ = np.histogram(np.clip(values, 0, 1), HISTOGRAM_BINS, (0, 1))
    return counts + _PSEUDO_COUNT
