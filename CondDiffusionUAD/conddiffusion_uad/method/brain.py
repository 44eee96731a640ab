"""A prepared brain as a method looks at it, and its slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import SimpleITK as sitk
import torch

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.context import Context
from conddiffusion_uad.model.slices import UNKNOWN, Slices
from conddiffusion_uad.preprocessing import resampling
from conddiffusion_uad.protocol.job import CONTRASTS

Spacing = tuple[float, float, float]


class Brain(Protocol):
    """What can be scored; ``preprocessing.preparation.Prepared`` is one, :class:`Volume` another."""

    @property
    def volume(self) -> np.ndarray:
        """Intensities in [0, 1], 0 outside the mask, float32 (z, y, x)."""

    @property
    def mask(self) -> np.ndarray:
        """Where the brain is, boolean, same shape."""

    @property
    def grid(self) -> Grid | None:
        """Where the voxels lie in the atlas; None when that is not known."""

    def at(self, spacing: Spacing) -> Brain:
        """The same brain on a grid with other voxels (x, y, z in mm), with the detail that the scan has."""


@dataclass(frozen=True)
class Volume:
    """A brain of which nothing but its voxels is known. The attributes are those of :class:`Brain`."""

    volume: np.ndarray
    mask: np.ndarray
    grid: Grid | None = None

    def at(self, spacing: Spacing) -> Volume:
        """The same with other voxels (x, y, z in mm), linear between the old ones. Raises ValueError without a grid."""
        if self.grid is None:
            raise ValueError("a volume without a grid cannot be brought to another one")
        finer = resampling.with_spacing(self.grid, spacing)
        mask = _resampled(self.mask, self.grid, finer) >= 0.5
        return Volume(resampled(self.volume, self.mask, self.grid, finer) * mask, mask, finer)


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest part of an array that has a whole mask in it; an empty one when the mask is empty."""
    axes = range(mask.ndim)
    places = [np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    return tuple(slice(found[0], found[-1] + 1) if len(found) else slice(0) for found in places)


def resampled(values: np.ndarray, mask: np.ndarray, grid: Grid, to: Grid) -> np.ndarray:
    """Values inside a mask, both (z, y, x) on a grid, on another grid; float32.

    Linear between the voxels, without mixing in what is outside of the mask; near its rim the values go on outward.
    """
    share = _resampled(mask, grid, to)
    return _resampled(values * mask, grid, to) / np.maximum(share, np.float32(1e-3))


def _resampled(values: np.ndarray, grid: Grid, to: Grid) -> np.ndarray:
    image = grid.with_array(values.astype(np.float32))
    return sitk.GetArrayFromImage(sitk.Resample(image, to.blank(), sitk.Transform(), sitk.sitkLinear, 0.0))


def slices_of(brain: Brain, context: Sequence[Context], contrast: str | None, index: np.ndarray) -> Slices:
    """Some axial slices of a brain, on the CPU.

    Args:
        context: What the denoiser sees beside the noisy slice.
        contrast: The scan's; None when it is not told.
        index: Positions of the slices along z, whole numbers.
    """
    volume, mask, grid = brain.volume, brain.mask, brain.grid
    image = torch.from_numpy(np.ascontiguousarray(volume[index], np.float32)).unsqueeze(1)
    heights = np.full(len(index), np.nan) if grid is None else grid.origin[2] + index * grid.spacing[2]
    beside = [image.new_zeros(len(index), 0, *image.shape[2:]), *(part(volume, mask, grid, index) for part in context)]
    return Slices(
        image=image,
        brain=torch.from_numpy(np.ascontiguousarray(mask[index], bool)).unsqueeze(1),
        context=torch.cat(beside, dim=1),
        z=torch.from_numpy(heights.astype(np.float32)),
        contrast=torch.full((len(index),), UNKNOWN if contrast is None else CONTRASTS.index(contrast)),
    )
