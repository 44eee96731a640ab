"""The other side of the brain."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from conddiffusion_uad.io.volume import Grid

WORKING_MM = 4.0
STEPS_MM = (1.0, 0.01)  # the first of the search, and the last: smaller ones end it
MOST_STEPS = 60
MOST_TURNED = math.radians(12.0)  # twice what a plane leans; none leans so much after the registration to the atlas
LEAST_HEIGHT_MM = 40.0  # of a brain; how less of it leans to the side cannot be told
MOST_MOVED_MM = 12.0  # twice what it is beside x = 0


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


def registered(volume: np.ndarray, mask: np.ndarray, grid: Grid) -> np.ndarray:
    """The scan mirrored at the mid-sagittal plane of its own brain.

    The registration to the atlas leaves that plane up to a degree oblique. So the scan that is mirrored at x = 0 of the
    atlas is registered to the scan itself, rigidly, by their correlation at :data:`WORKING_MM`. Where that cannot
    be done, as in a few slices, it is mirrored at x = 0.

    Args:
        volume: Intensities, 0 outside the brain, (z, y, x).
        mask: Brain, boolean, same shape.
        grid: Where the voxels lie in the atlas.

    Returns:
        float32, same shape, linear between voxels, 0 beyond the grid. The same for the same scan, bit by bit.
    """
    plain = mirrored(volume, middle(mask, grid))
    onto = _onto(plain, volume, mask, grid)
    if onto is None:
        return plain
    flip = sitk.AffineTransform(3)
    flip.SetMatrix((-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    back = sitk.CompositeTransform([flip, onto])  # the last of them comes first
    scan = grid.with_array(volume.astype(np.float32))
    other: np.ndarray = sitk.GetArrayFromImage(sitk.Resample(scan, grid.blank(), back, sitk.sitkLinear, 0.0))
    return other


def _onto(other: np.ndarray, volume: np.ndarray, mask: np.ndarray, grid: Grid) -> sitk.Euler3DTransform | None:
    """From points of the scan to those of the mirrored one; None when the two do not fit after a small movement."""
    if mask.any(axis=(1, 2)).sum() * grid.spacing[2] < LEAST_HEIGHT_MM:
        return None
    shrunk = [max(1, round(WORKING_MM / step)) for step in grid.spacing]
    scan, moving, brain = (
        sitk.BinShrink(grid.with_array(each.astype(np.float32)), shrunk) for each in (volume, other, mask)
    )
    onto = sitk.Euler3DTransform()
    onto.SetCenter(grid.blank().TransformContinuousIndexToPhysicalPoint(np.argwhere(mask).mean(0)[::-1].tolist()))
    method = _method(onto)
    method.SetMetricFixedMask(sitk.BinaryDilate(brain > 0.1, [1, 1, 1]))
    try:
        method.Execute(scan, moving)
    except RuntimeError:  # no voxel of the one lies in the other
        return None
    angles, moved = np.split(np.array(onto.GetParameters()), 2)
    fits = np.abs(angles).max() <= MOST_TURNED and np.abs(moved).max() <= MOST_MOVED_MM  # neither of what is not finite
    return onto if fits else None


def _method(start: sitk.Transform) -> sitk.ImageRegistrationMethod:
    """A search that goes on from a transform, and changes it."""
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfWorkUnits(1)  # several add up in the order in which they end, which would change the last digits
    method.SetMetricAsCorrelation()
    method.SetMetricUseFixedImageGradientFilter(False)
    method.SetMetricUseMovingImageGradientFilter(False)
    method.SetInterpolator(sitk.sitkLinear)
    first, last = STEPS_MM
    method.SetOptimizerAsRegularStepGradientDescent(first, last, MOST_STEPS, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(start, inPlace=True)
    return method
