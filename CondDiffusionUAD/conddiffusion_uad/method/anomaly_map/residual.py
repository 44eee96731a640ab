"""The residual between a scan and its reconstruction, as an anomaly map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conddiffusion_uad.method.intensity import rank_normalized, require_smoothing, smoothed
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion

SIGNS = ("absolute", "hyperintense", "hypointense")
TISSUES = ("any", "bright", "dark")


@dataclass(frozen=True)
class Residual:
    """What the reconstruction does not explain, smoothed, where tissue is expected.

    Attributes:
        sign: "hyperintense" keeps what is brighter than the reconstruction, "hypointense" what is darker, "absolute"
            both.
        smoothing: "gaussian" (normalized inside the mask), "median" (of what is inside the mask) or "none".
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
        if self.sign not in SIGNS or self.tissue not in TISSUES:
            raise ValueError(f"the sign of a residual is one of {SIGNS}, its tissue one of {TISSUES}")
        require_smoothing(self.smoothing, self.size)

    def __call__(self, restored: Restored, model: ConditionedDiffusion) -> np.ndarray:
        """The map, float32 (z, y, x); the model is not looked at."""
        return self.between(restored.volume, restored.mean, restored.mask)

    def between(self, volume: np.ndarray, reconstruction: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The residual of a volume and a reconstruction, both (z, y, x).

        A signed difference is smoothed before its sign is cut, so that noise of both signs cancels.

        Returns:
            float32, same shape, not negative, 0 outside the mask.
        """
        difference = volume - reconstruction
        if self.sign == "absolute":
            unexplained = self.smoothed(np.abs(difference), mask)
        else:
            signed = difference if self.sign == "hyperintense" else -difference
            unexplained = np.maximum(self.smoothed(signed, mask), 0)
        if self.tissue == "any":
            return unexplained
        rank = self.smoothed(rank_normalized(reconstruction, mask), mask)
        return unexplained * (rank if self.tissue == "bright" else 1 - rank)

    def smoothed(self, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """A map (z, y, x) smoothed as this residual is, float32, 0 outside the mask."""
        return smoothed(values, mask, self.smoothing, self.size)
