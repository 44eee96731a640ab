"""What the atlas shows at the place of a slice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import SimpleITK as sitk
import torch

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas

BRIGHTEST = 99.5  # percentile of the atlas' brain that becomes 1


@dataclass(frozen=True)
class AtlasPriors:
    """The atlas' T1-weighted intensities, 0 to 1, and its brain mask; both 0 where the place is not known."""

    @property
    def channels(self) -> int:
        return 2

    @property
    def reach(self) -> int:
        return 0

    def __call__(self, volume: np.ndarray, mask: np.ndarray, grid: Grid | None, z: np.ndarray) -> torch.Tensor:
        if grid is None:
            return torch.zeros(len(z), self.channels, *volume.shape[1:])
        return torch.from_numpy(priors(grid)[:, z].swapaxes(0, 1).copy())


@lru_cache(maxsize=8)
def priors(grid: Grid) -> np.ndarray:
    """T1-weighted intensities and brain mask of the atlas on a grid, float32 (2, z, y, x); read-only."""
    shipped = atlas.load()
    t1, brain = (
        sitk.GetArrayFromImage(
            sitk.Resample(image, grid.blank(), sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
        )
        for image in (shipped.t1, shipped.mask)
    )
    whole = sitk.GetArrayViewFromImage(shipped.t1)
    brightest = np.percentile(whole[sitk.GetArrayViewFromImage(shipped.mask) > 0], BRIGHTEST)
    found = np.stack([np.clip(t1 / brightest, 0, 1), brain]).astype(np.float32)
    found.flags.writeable = False
    return found
