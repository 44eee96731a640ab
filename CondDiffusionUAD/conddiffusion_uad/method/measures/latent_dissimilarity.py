"""How far each slice is from its reconstruction in the eyes of the encoder: a curve along the axis of the head.

Paper: Albu et al. 2020, "Tumor Detection in Brain MRIs by Computing Dissimilarities in the Latent Space of a
Variational AutoEncoder", doi:10.7557/18.5172 (arXiv:2007.12528).

With the features F of the bundle's encoder, ``s = 1 - cos(F(x), F(x_hat))`` for each axial slice.

What differs: the paper trains two auto-encoders, one of them on tumors, and compares in the space of one the slice with
what the other makes of it; here both are seen by the encoder that is there, and the reconstruction is that of the
method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from conddiffusion_uad.method.brain import Volume, slices_of
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion

if TYPE_CHECKING:
    from conddiffusion_uad.method.method import Method

BATCH = 16  # slices at once
LEAST_VOXELS = 50  # of brain in a slice; smaller ones say little


@dataclass(frozen=True)
class LatentDissimilarity:
    """Cosine distance of the encoder's features of scan and reconstruction, slice by slice."""

    def require(self, method: Method) -> None:
        """See ``parts.Particular``."""
        if not method.condition.features:
            raise ValueError("latent dissimilarity is one of the encoder's features, and this condition has none")

    def __call__(self, restored: Restored, model: ConditionedDiffusion) -> Mapping[str, float | Sequence[float]]:
        """The curve: ``latent_dissimilarity_mm``, the heights of the slices that show enough brain (positions on the
        grid where heights are not known), and ``latent_dissimilarity_slices``, one value of 0 to 2 for each. And
        ``latent_dissimilarity``, the largest of them; 0 for a scan without brain."""
        shown = shown_slices(restored.mask)
        values: list[float] = []
        for index in np.split(shown, range(BATCH, len(shown), BATCH)):
            scan, healthy = (
                self._features(image, restored, model, index) for image in (restored.volume, restored.mean)
            )
            values += (1 - functional.cosine_similarity(scan, healthy)).clamp(0, 2).tolist()
        grid = restored.grid
        heights = shown.astype(float) if grid is None else grid.origin[2] + shown * grid.spacing[2]
        return {
            "latent_dissimilarity": max(values, default=0.0),
            "latent_dissimilarity_mm": heights.tolist(),
            "latent_dissimilarity_slices": values,
        }

    def _features(
        self, image: np.ndarray, restored: Restored, model: ConditionedDiffusion, index: np.ndarray
    ) -> torch.Tensor:
        brain = Volume(image, restored.mask, restored.grid)
        with torch.no_grad():
            features: torch.Tensor = model.encoder(slices_of(brain, (), restored.contrast, index).to(model.device))
        return features.float()


def shown_slices(mask: np.ndarray) -> np.ndarray:
    """Positions along z of the slices of a brain mask (z, y, x) that show enough brain."""
    return np.flatnonzero(mask.sum(axis=(1, 2)) >= LEAST_VOXELS)
