"""How far a scan is from its own reconstructions, measured by how they vary: a Mahalanobis distance in each slice.

Paper: Behrendt et al. 2024, "Leveraging the Mahalanobis Distance to enhance Unsupervised Brain MRI Anomaly Detection",
arXiv:2407.12474.

For the P pixels of the brain in an axial slice, with the scan x, the mean mu of N reconstructions, their deviations X
(N, P) from it, and ``d = x - mu``, the covariance is ``S = X^T X / (N - 1) + lambda I``, and a pixel's share of the
squared distance is ``(S^-1 d)_i d_i``; negative shares count as nothing. The root of it is smoothed, and multiplied by
one minus the structural similarity of the scan and mu.

By the Woodbury identity no P x P matrix is needed:
``S^-1 d = (d - X^T ((N - 1) lambda I + X X^T)^-1 X d) / lambda``, where the matrix to solve with is N x N.

What differs: the inverse is exact and in double precision, where the published one is of the whole matrix in half
precision; the map is not stretched to [0, 1] in each scan, because a healthy brain would reach 1 then, too; and the
calibration, not a search on labelled scans, gives it its threshold. ``form = "diagonal"`` leaves the correlations out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from skimage.metrics import structural_similarity

from conddiffusion_uad.method.intensity import require_smoothing, smoothed
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.protocol.job import is_number

if TYPE_CHECKING:
    from conddiffusion_uad.method.method import Method

FORMS = ("full", "diagonal")
SSIM_SIGMA = 1.0  # pixels, as published


@dataclass(frozen=True)
class Mahalanobis:
    """The Mahalanobis distance of a scan to its reconstructions.

    Attributes:
        form: "full", or "diagonal" for ``d_i^2 / (variance_i + lambda)``, which takes pixels as independent.
        ridge: lambda, in squared units of normalized intensity.
        size: Standard deviation of the Gaussian that smooths it, in voxels; 0 for none.
        structure: Whether it is multiplied by one minus the structural similarity.
    """

    form: str = "full"
    ridge: float = 0.01
    size: float = 1.0
    structure: bool = True

    least_samples: ClassVar[int] = 2
    """Reconstructions that it needs, to know how they vary."""

    def __post_init__(self) -> None:
        if self.form not in FORMS or type(self.structure) is not bool:
            raise ValueError(f"form is one of {FORMS}, structure true or false")
        if not is_number(self.ridge, 1e-6, 1):
            raise ValueError("ridge is a number from 1e-6 to 1")
        if self.size != 0:
            require_smoothing("gaussian", self.size)

    def require(self, method: Method) -> None:
        """See ``parts.Particular``."""
        if method.restore.samples < self.least_samples:
            raise ValueError(
                "a Mahalanobis distance needs two reconstructions at least, to know how they vary, and restore gives "
                "one: take several timesteps, or the restorer repeated"
            )

    def __call__(self, restored: Restored, model: ConditionedDiffusion) -> np.ndarray:
        """The map, float32 (z, y, x); the model is not looked at."""
        found = np.zeros(restored.volume.shape, np.float32)
        mean = restored.samples.mean(axis=0, dtype=np.float64)
        for z in np.flatnonzero(restored.mask.any(axis=(1, 2))):
            inside = restored.mask[z]
            difference = restored.volume[z][inside] - mean[z][inside]
            deviations = restored.samples[:, z][:, inside] - mean[z][inside]
            found[z][inside] = np.sqrt(np.maximum(self.shares(difference, deviations), 0))
        if self.size:
            found = smoothed(found, restored.mask, "gaussian", self.size)
        return found * dissimilarity(restored.volume, restored.mean, restored.mask) if self.structure else found

    def shares(self, difference: np.ndarray, deviations: np.ndarray) -> np.ndarray:
        """Each pixel's share of the squared distance, (P,).

        Args:
            difference: d, (P,).
            deviations: X, (N, P), of mean 0 over the N.
        """
        count = len(deviations)
        if self.form == "diagonal":
            return difference**2 / ((deviations**2).sum(axis=0) / (count - 1) + self.ridge)
        gram = deviations @ deviations.T + (count - 1) * self.ridge * np.eye(count)
        weighted = difference - deviations.T @ np.linalg.solve(gram, deviations @ difference)
        return weighted / self.ridge * difference


def dissimilarity(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One minus the structural similarity (Wang et al. 2004) in axial slices, float32 in [0, 2], 0 outside the mask.

    Args:
        first, second: Intensities in [0, 1], (z, y, x).
        mask: Where the brain is, same shape.
    """
    found = np.zeros(first.shape, np.float32)
    for z in np.flatnonzero(mask.any(axis=(1, 2))):
        pair = first[z].astype(np.float64), second[z].astype(np.float64)
        options = {"gaussian_weights": True, "sigma": SSIM_SIGMA, "use_sample_covariance": False, "data_range": 1.0}
        _, similarity = structural_similarity(*pair, full=True, **options)
        found[z] = np.where(mask[z], 1 - similarity, 0)
    return found
