"""The residual between a scan and its reconstruction, as an anomaly map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.stats import rankdata

SIGNS = ("absolute", "positive", "negative")

SMOOTHING = ("gaussian", "median", "none")

MOST_SIZE = 16.0  # voxels that smoothing may reach; more would blur whole lobes and take minutes
TISSUES = ("any", "bright", "dark")


@dataclass(frozen=True)
class ResidualRule:
    """How a residual is formed; part of a bundle's configuration, one for each contrast.

    Attributes:
        sign: "positive" keeps what is brighter than the reconstruction, "negative" what is darker, "absolute" both.
        smoothing: "gaussian" (normalized inside the mask), "median" or "none".
        size: Standard deviation of the Gaussian, or side of the median's cube, in voxels of the bundle's grid.
        tissue: Where residuals count: "bright" weights them by the rank of the reconstruction's intensity in the brain,
            "dark" by one minus this rank, "any" not at all. Fluid is the darkest tissue of T1 and FLAIR and the
            brightest of T2; its sulci and cisterns vary most between healthy brains and hold no tissue to be sick.
    """

    sign: str = "absolute"
    smoothing: str = "gaussian"
    size: float = 1.0
    tissue: str = "any"

    def __post_init__(self) -> None:
        if (
            self.sign not in SIGNS
            or self.smoothing not in SMOOTHING
            or not 0 < self.size <= MOST_SIZE
            or self.tissue not in TISSUES
        ):
            raise ValueError(
                f"{self} is no residual rule: the sign is one of {SIGNS}, the smoothing one of {SMOOTHING}, "
                f"the tissue one of {TISSUES}."
            )


def equalized(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Rank of each intensity inside the brain, in (0, 1].

    Args:
        volume: Scan or reconstruction, any units.
        mask: Brain, boolean, same shape.

    Returns:
        float32, 0 outside the mask.
    """
    ranks = np.zeros(volume.shape, np.float32)
    if mask.any():
        ranks[mask] = rankdata(volume[mask]) / mask.sum()
    return ranks


def smoothed(values: np.ndarray, mask: np.ndarray, rule: ResidualRule) -> np.ndarray:
    """Smooth a map inside the mask; the Gaussian is normalized so that the rim of the brain keeps its level."""
    if rule.smoothing == "median":
        values = ndimage.median_filter(values, size=round(rule.size))
    elif rule.smoothing == "gaussian":
        weight = ndimage.gaussian_filter(mask.astype(np.float32), rule.size)
        values = ndimage.gaussian_filter(values * mask, rule.size) / np.maximum(weight, 1e-6)
    return np.where(mask, values, 0).astype(np.float32)


def residual(volume: np.ndarray, reconstruction: np.ndarray, mask: np.ndarray, rule: ResidualRule) -> np.ndarray:
    """What the reconstruction does not explain, smoothed, where tissue is expected.

    A signed difference is smoothed before its sign is cut, so that noise of both signs cancels.

    Returns:
        float32, same shape (z, y, x), not negative, 0 outside the mask.
    """
    difference = volume - reconstruction
    if rule.sign == "absolute":
        unexplained = smoothed(np.abs(difference), mask, rule)
    else:
        unexplained = np.maximum(smoothed(difference if rule.sign == "positive" else -difference, mask, rule), 0)
    if rule.tissue == "any":
        return unexplained
    rank = smoothed(equalized(reconstruction, mask), mask, rule)
    return unexplained * (rank if rule.tissue == "bright" else 1 - rank)
