"""The other side of the brain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from conddiffusion_uad.io.volume import Grid


@dataclass(frozen=True)
class Mirror:
    """The slice mirrored at the mid-sagittal plane, so that one side can be compared with the other."""

    @property
    def channels(self) -> int:
        return 1

    @property
    def reach(self) -> int:
        return 0

    def __call__(self, volume: np.ndarray, mask: np.ndarray, grid: Grid | None, z: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(mirrored(volume[z], middle(mask, grid))[:, None])


def middle(mask: np.ndarray, grid: Grid | None) -> float:
    """Where along x, in voxels, the mid-sagittal plane is: at x = 0 of the atlas, else in the middle of the brain."""
    if grid is not None:
        return -grid.origin[0] / grid.spacing[0]
    x = np.flatnonzero(mask.any(axis=(0, 1)))
    return float(x[0] + x[-1]) / 2 if len(x) else 0.0


def mirrored(values: np.ndarray, at: float) -> np.ndarray:
    """Values (z, y, x) mirrored at a place along x, linear between voxels, 0 beyond the grid; float32."""
    values = values.astype(np.float32)
    place = 2 * at - np.arange(values.shape[2])
    low = np.floor(place).astype(int)
    share = (place - low).astype(np.float32)
    padded = np.pad(values, ((0, 0), (0, 0), (1, 1)))
    below, above = (padded[:, :, np.clip(i + 1, 0, values.shape[2] + 1)] for i in (low, low + 1))
    both: np.ndarray = (1 - share) * below + share * above
    return both
