"""Where a scan and its reconstruction differ in what the encoder's layers see, instead of in intensity.

Paper: He et al. 2024, "DiAD: A Diffusion-based Framework for Multi-class Anomaly Detection", arXiv:2312.06607.

For the features phi_l of some layers, ``sum_l upsampled(1 - cos(phi_l(x), phi_l(x_hat)))``, smoothed.

What differs: the layers are those of the bundle's own encoder, which saw healthy brains, instead of a network trained
on photographs; the reconstruction is the mean of the samples, as in all methods here; and the smoothing is in three
dimensions. The published Gaussian has 5 pixels of 256, so about 2 of a slice here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from conddiffusion_uad.method.condition.encoder import STAGES, Encoder
from conddiffusion_uad.method.intensity import require_smoothing, smoothed
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices

if TYPE_CHECKING:
    from conddiffusion_uad.method.method import Method

BATCH = 16  # slices at once


@dataclass(frozen=True)
class FeatureSpace:
    """Cosine distance of features, sum over layers.

    Attributes:
        layers: Stages of the encoder, 1 (fine) to 4 (coarse).
        size: Standard deviation of the Gaussian that smooths the map, in voxels.
    """

    layers: tuple[int, ...] = (1, 2, 3)
    size: float = 2.0

    def __post_init__(self) -> None:
        known = set(range(1, STAGES + 1))
        if not isinstance(self.layers, tuple) or not self.layers or not set(self.layers) <= known:
            raise ValueError(f"layers are some numbers from 1 to {STAGES}")
        require_smoothing("gaussian", self.size)

    def require(self, method: Method) -> None:
        """See ``parts.Particular``."""
        if not isinstance(method.condition, Encoder):
            raise ValueError(
                "a map in the space of features needs an image encoder whose layers it can look into, and this "
                "condition has none"
            )

    def __call__(self, restored: Restored, model: ConditionedDiffusion) -> np.ndarray:
        """The map, float32 (z, y, x)."""
        found = np.zeros(restored.volume.shape, np.float32)
        shown = np.flatnonzero(restored.mask.any(axis=(1, 2)))
        for index in np.split(shown, range(BATCH, len(shown), BATCH)):
            scan, healthy = (self.features(values[index], model) for values in (restored.volume, restored.mean))
            for seen, expected in zip(scan, healthy, strict=True):
                differ = 1 - functional.cosine_similarity(seen, expected, dim=1)
                size = restored.volume.shape[1:]
                large = functional.interpolate(differ.unsqueeze(1), size=size, mode="bilinear", align_corners=False)
                found[index] += large.clamp(min=0)[:, 0].cpu().numpy()
        return smoothed(found, restored.mask, "gaussian", self.size)

    def features(self, images: np.ndarray, model: ConditionedDiffusion) -> list[torch.Tensor]:
        """What the layers see of slices (B, H, W) in [0, 1], each (B, C, h, w)."""
        slices = Slices.of(torch.from_numpy(np.ascontiguousarray(images)).unsqueeze(1).to(model.device))
        layers = [model.encoder.get_submodule(f"layer{number}") for number in self.layers]
        with _outputs(layers) as seen, torch.no_grad():
            model.encoder(slices)
        return seen


@contextmanager
def _outputs(layers: list[nn.Module]) -> Iterator[list[torch.Tensor]]:
    """What comes out of some layers meanwhile, in the order in which they run."""
    seen: list[torch.Tensor] = []
    handles = [layer.register_forward_hook(lambda _, __, output: seen.append(output)) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
