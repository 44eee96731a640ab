"""What the denoiser sees of a slice beside its noisy image, as further channels.

One idea a file; a configuration lists any number of them, and their channels stand in its order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.context.atlas import AtlasPriors
from conddiffusion_uad.method.context.coordinates import Coordinates
from conddiffusion_uad.method.context.mirror import Mirror
from conddiffusion_uad.method.context.neighbours import Neighbours


class Context(Protocol):
    """Further channels of slices."""

    @property
    def channels(self) -> int:
        """How many."""

    @property
    def reach(self) -> int:
        """How many slices below and above one are looked at."""

    def __call__(self, volume: np.ndarray, mask: np.ndarray, grid: Grid | None, z: np.ndarray) -> torch.Tensor:
        """The channels of some slices, float32 (B, channels, H, W), on the CPU.

        Args:
            volume: Intensities in [0, 1], 0 outside the mask, float32 (z, y, x).
            mask: Brain, boolean, same shape.
            grid: Where the voxels lie in the atlas; None when that is not known.
            z: Positions of the slices, whole numbers, shape (B,).
        """


CONTEXTS: Mapping[str, type[Context]] = {
    "neighbours": Neighbours,
    "mirror": Mirror,
    "atlas": AtlasPriors,
    "coordinates": Coordinates,
}
