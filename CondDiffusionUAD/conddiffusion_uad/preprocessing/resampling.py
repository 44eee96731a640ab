"""Between a patient's grid and the model's: an atlas-space grid that holds all of the brain, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from conddiffusion_uad.io.volume import Grid

STEP = 8  # the grid grows by multiples of this in the slice plane: a model can divide its slices by 2, 4 or 8
FWHM_IN_SIGMAS = 2.355  # full width at half maximum of a Gaussian: 2 sqrt(2 ln 2) standard deviations
FWHM_TO_SIGMA = 1.0 / FWHM_IN_SIGMAS
KERNEL_SIGMAS = 4.0  # no smoothing kernel reaches farther
RIM_VOXELS = 3  # of the model's grid, around the brain, that repeat the values inside
RIM_VARIANCE = 1.0  # of the Gaussian that says which values inside are near, in voxels squared
LEAST_SHARE = 0.5  # of a voxel of the grid that must be brain for the voxel to belong to it


@dataclass(frozen=True)
class Resampled:
    """A brain on the model's grid.

    Attributes:
        volume: float32 (z, y, x), 0 outside the mask. z counts axial slices from the feet up.
        mask: bool (z, y, x), the brain.
        grid: Where these voxels lie in the atlas, LPS mm.
        to_atlas: Maps points of the atlas to points of the patient.
    """

    volume: np.ndarray
    mask: np.ndarray
    grid: Grid
    to_atlas: sitk.Transform

    def back(self, array: np.ndarray, reference: Grid, interpolator: int = sitk.sitkLinear) -> sitk.Image:
        """Bring values on the model's grid to a patient's grid.

        Args:
            array: Values (z, y, x) on `grid`.
            reference: The patient's grid.
            interpolator: SimpleITK interpolator.

        Returns:
            Image on `reference`, 0 where it reaches beyond `grid`.
        """
        values = self.grid.with_array(array)
        return _on(reference, values, self.to_atlas.GetInverse(), interpolator)

    def back_inside(self, array: np.ndarray, reference: Grid) -> sitk.Image:
        """Bring values on the model's grid to a patient's grid, as if those inside the mask went on outside of it.

        So the rim of the brain keeps its values, and none of it is lost where the two grids' rims differ: around the
        mask, for RIM_VOXELS of the grid, stands the weighted mean of the nearest values inside.

        Args:
            array: Values (z, y, x) on `grid`.
            reference: The patient's grid.
        """
        total, share = _spread(np.where(self.mask, array, 0)), self._share
        around = np.where(share > 0, total / np.maximum(share, np.finfo(np.float32).tiny), 0.0)
        return self.back(np.where(self.mask, array, around).astype(np.float32), reference)

    @cached_property
    def _share(self) -> np.ndarray:
        """How much of what is near a voxel lies inside the mask, (z, y, x)."""
        return _spread(self.mask)


def _on(grid: Grid, image: sitk.Image, transform: sitk.Transform, interpolator: int) -> sitk.Image:
    """An image on a grid, 0 beyond the image; without an image of zeros that only tells the grid."""
    return sitk.Resample(
        image, list(grid.size), transform, interpolator, grid.origin, grid.spacing, grid.direction, 0.0
    )


def _spread(values: np.ndarray) -> np.ndarray:
    """Values (z, y, x) smoothed for the rim of a brain, float32."""
    return _smooth(values.astype(np.float32), [_kernel(RIM_VARIANCE, 1.0, 2 * RIM_VOXELS + 1)] * 3)


def to_grid(image: sitk.Image, mask: sitk.Image, grid: Grid, transform: sitk.Transform) -> Resampled:
    """Bring a brain to the model's grid, without mixing in what surrounds it.

    Values are averaged with the mask as their weight, sum(w v) / sum(w), both when smoothing against aliases and when
    interpolating linearly, so that the rim of the brain looks the same whether or not the skull was there.

    Args:
        image: float32 scan.
        mask: Brain mask on the same grid, not empty.
        grid: The model's grid in the atlas; enlarged where the brain does not fit.
        transform: Maps points of the atlas to points of the patient; linear.
    """
    enlarged = enlarge(grid, mask, transform)
    sigmas = _sigmas(image, enlarged, transform)
    image, mask = _cropped(image, mask, sigmas)
    kernels = [_kernel(sigma**2, step, 64) for sigma, step in zip(sigmas, image.GetSpacing(), strict=True)]
    weight = (sitk.GetArrayViewFromImage(mask) > 0).astype(np.float32)
    smoothed = Grid.of(image)
    share, total = (
        _on(enlarged, smoothed.with_array(_smooth(part, kernels)), transform, sitk.sitkLinear)
        for part in (weight, sitk.GetArrayViewFromImage(image) * weight)
    )
    share, total = sitk.GetArrayFromImage(share), sitk.GetArrayFromImage(total)
    inside = share >= LEAST_SHARE
    volume = np.where(inside, total / np.maximum(share, LEAST_SHARE), 0.0).astype(np.float32)
    return Resampled(volume=volume, mask=inside, grid=enlarged, to_atlas=transform)


def enlarge(grid: Grid, mask: sitk.Image, transform: sitk.Transform) -> Grid:
    """Return the grid, grown on its own lattice just enough to hold the mask; in the slice plane in steps of 8."""
    first, last = _box(mask, grid, transform)
    low = np.minimum(0, np.floor(first)).astype(int)
    high = np.maximum(np.array(grid.size) - 1, np.ceil(last)).astype(int)
    steps = np.array([STEP, STEP, 1])
    low = (low // steps) * steps
    size = high - low + 1
    size += -(size - np.array(grid.size)) % steps
    axes = np.array(grid.direction).reshape(3, 3) * np.array(grid.spacing)
    origin = np.array(grid.origin) + axes @ low
    return _grid(size, grid.spacing, origin, grid.direction)


def with_spacing(grid: Grid, spacing: tuple[float, float, float]) -> Grid:
    """The grid that fills the same box with other voxels (x, y, z in mm); in the slice plane in steps of 8 voxels."""
    steps = np.array([STEP, STEP, 1])
    extent = np.array(grid.size) * np.array(grid.spacing)
    size = np.ceil((extent / spacing / steps).round(6)).astype(int) * steps
    axes = np.array(grid.direction).reshape(3, 3)
    shift = axes @ ((np.array(spacing) - np.array(grid.spacing)) / 2)  # the boxes begin at one corner
    return _grid(size, spacing, np.array(grid.origin) + shift, grid.direction)


def _grid(
    size: np.ndarray, spacing: tuple[float, float, float], origin: np.ndarray, direction: tuple[float, ...]
) -> Grid:
    columns, rows, slices = size.tolist()
    x, y, z = origin.tolist()
    return Grid((columns, rows, slices), spacing, (x, y, z), direction)


def _box(mask: sitk.Image, grid: Grid, transform: sitk.Transform) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest index (x, y, z) on the grid's lattice that the mask's voxels reach.

    The map between the two lattices is linear, so that only the ends of the mask's rows can be extreme.
    """
    array = sitk.GetArrayViewFromImage(mask) > 0
    z, y = np.nonzero(array.any(axis=2))
    first = array.argmax(axis=2)[z, y]
    last = array.shape[2] - 1 - array[:, :, ::-1].argmax(axis=2)[z, y]
    ends = np.concatenate([np.stack([x, y, z], axis=1) for x in (first, last)])
    matrix, shift = _index_map(mask, grid, transform)
    reached = ends @ matrix.T + shift
    half = np.abs(matrix).sum(axis=1) / 2.0  # from a voxel's center to its corners
    return reached.min(axis=0) - half, reached.max(axis=0) + half


def _index_map(mask: sitk.Image, grid: Grid, transform: sitk.Transform) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and shift of the linear map from indices of a patient's image to indices on the grid."""
    inverse, lattice = transform.GetInverse(), grid.blank(sitk.sitkUInt8)

    def index(corner: tuple[int, int, int]) -> np.ndarray:
        point = inverse.TransformPoint(mask.TransformIndexToPhysicalPoint(corner))
        return np.array(lattice.TransformPhysicalPointToContinuousIndex(point))

    shift = index((0, 0, 0))
    return np.stack([index(unit) - shift for unit in ((1, 0, 0), (0, 1, 0), (0, 0, 1))], axis=1), shift


def _sigmas(image: sitk.Image, grid: Grid, transform: sitk.Transform) -> list[float]:
    """Return the Gaussian's sigma along each axis of the scan, mm, that leaves no detail finer than the new voxels.

    Point spreads add in squares: FWHM^2 = new^2 - old^2, with the new voxel measured in the patient.
    """
    origin = np.array(transform.TransformPoint(grid.origin))
    axes = np.array(grid.direction).reshape(3, 3) * np.array(grid.spacing)
    steps = np.array([np.array(transform.TransformPoint(tuple(grid.origin + axis))) - origin for axis in axes.T])
    directions = np.array(image.GetDirection()).reshape(3, 3)
    new = np.sqrt(((steps @ directions) ** 2).sum(axis=0))
    old = np.array(image.GetSpacing())
    return [float(v) for v in FWHM_TO_SIGMA * np.sqrt(np.maximum(new**2 - old**2, 0.0))]


def _cropped(image: sitk.Image, mask: sitk.Image, sigmas: list[float]) -> tuple[sitk.Image, sitk.Image]:
    """Return the part of a scan and of its mask that smoothing can bring into the brain or out of it."""
    margin = np.ceil(KERNEL_SIGMAS * np.array(sigmas) / np.array(mask.GetSpacing())).astype(int) + 1
    first, size = around(mask, margin)
    return sitk.RegionOfInterest(image, size, first), sitk.RegionOfInterest(mask, size, first)


def around(mask: sitk.Image, margin: np.ndarray) -> tuple[list[int], list[int]]:
    """Return the first voxel and the size (x, y, z) of the part of a grid that holds a mask and a margin of voxels."""
    low, high = (np.array(corner) for corner in box_of(mask) or ((0, 0, 0), mask.GetSize()))
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, mask.GetSize())
    return low.tolist(), (high - low).tolist()


def box_of(mask: sitk.Image) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the first voxel of a mask's box along x, y, z and the one after its last; None of an empty mask.

    ITK's filter for this measures the surface, too, which takes several times as long.
    """
    planes = sitk.GetArrayViewFromImage(mask).any(axis=2)
    if not planes.any():
        return None
    columns = sitk.GetArrayViewFromImage(mask).any(axis=(0, 1))
    found = [np.flatnonzero(line) for line in (columns, planes.any(axis=0), planes.any(axis=1))]
    return tuple(int(at[0]) for at in found), tuple(int(at[-1]) + 1 for at in found)


def _smooth(values: np.ndarray, kernels: list[np.ndarray]) -> np.ndarray:
    """Values (z, y, x) smoothed along x, y and z, float32; beyond the ends those at the ends go on.

    ITK's filter for this takes three times as long.
    """
    for axis, kernel in zip((2, 1, 0), kernels, strict=True):
        if len(kernel) > 1:
            values = ndimage.correlate1d(values, kernel, axis, mode="nearest")
    return values


def _kernel(variance: float, spacing: float, most: int) -> np.ndarray:
    """The discrete Gaussian of a variance in mm^2 (Lindeberg, IEEE Trans PAMI 12:234, 1990), of so many voxels at most.

    As ITK's filter has it.
    """
    impulse = sitk.Image(4 * most + 1, 3, sitk.sitkFloat64)
    impulse.SetSpacing((spacing, 1.0))
    impulse[2 * most, 1] = 1.0
    row = sitk.GetArrayFromImage(sitk.DiscreteGaussian(impulse, [variance, 0.0], most, [0.01] * 2))[1]
    return np.trim_zeros(row)
