"""Remove the slow shading of a scan: fit it with N4 on a coarse grid, and divide by it on the scan's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

from conddiffusion_uad.io.grid import Grid
from conddiffusion_uad.preprocessing import n4
from conddiffusion_uad.protocol.events import Progress

FIT_MM = 4.0  # the field is fitted on voxels about this large: it varies over centimeters
CONTROL_POINTS = (4, 5, 7)  # of cubic splines along each axis: 1, 2 and 4 pieces across the image
ITERATIONS = 50  # at each number of control points, at most
MIN_POSITIVE = 0.9  # share of the brain that must be positive for a field by a factor to make sense


@dataclass(frozen=True)
class Corrected:
    """A scan without its bias field.

    Attributes:
        image: float32, the scan divided by the field.
        field: float32, positive, mean 1 (geometric) inside the mask, on the scan's grid.
    """

    image: sitk.Image
    field: sitk.Image

    def undo(self, image: sitk.Image) -> sitk.Image:
        """Return an image on the scan's grid with the shading put back."""
        return image * self.field


def correct(image: sitk.Image, mask: sitk.Image, progress: Progress, part: Grid | None = None) -> Corrected:
    """Estimate the multiplicative bias field inside the mask and divide the scan by it.

    Args:
        image: float32 scan.
        mask: Brain mask on the same grid, not empty.
        progress: Receives `advance`, which may raise Cancelled: the fit then ends at once.
        part: Of the scan's grid, with all of the mask, to correct; None for all of it.

    Returns:
        The corrected scan and its field, on that part of the grid. The field is 1 for a scan whose brain is negative in
        good part (as after z-scoring): shading by a factor has no meaning there.
    """
    small, inside = _shrink(image, mask)
    positive = inside & (small > 0)
    if part is not None:
        first = image.TransformPhysicalPointToIndex(part.origin)
        image, mask = (sitk.RegionOfInterest(whole, part.size, first) for whole in (image, mask))
    if _count(positive) <= MIN_POSITIVE * _count(inside):
        field = image * 0 + 1
    else:
        field = _bounded(_enlarge(_fit(small, positive, progress), image), mask)
    return Corrected(image=sitk.Cast(image / field, sitk.sitkFloat32), field=field)


def _shrink(image: sitk.Image, mask: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Return a coarser scan and mask; axes whose voxels are already coarse are left as they are."""
    factors = [max(1, min(round(FIT_MM / s), n // 8)) for s, n in zip(image.GetSpacing(), image.GetSize(), strict=True)]
    share = sitk.BinShrink(sitk.Cast(mask, sitk.sitkFloat32), factors)
    brain = sitk.BinShrink(sitk.Mask(image, mask), factors)
    inside = share > 0.5
    mean = sitk.Mask(sitk.Cast(brain / sitk.Maximum(share, 1e-3), sitk.sitkFloat32), inside)
    return mean, inside


def _fit(small: sitk.Image, mask: sitk.Image, progress: Progress) -> sitk.Image:
    """Return the logarithm of the bias field on the small image's grid."""
    inside = sitk.GetArrayViewFromImage(mask) > 0
    values = np.log(np.where(inside, sitk.GetArrayViewFromImage(small), 1.0).astype(np.float64))
    field = sitk.GetImageFromArray(
        n4.log_field(values, inside, CONTROL_POINTS, ITERATIONS, progress.advance).astype(np.float32)
    )
    field.CopyInformation(small)
    return field


def _enlarge(field: sitk.Image, image: sitk.Image) -> sitk.Image:
    """Return a smooth field on the grid of the full image, by cubic splines; beyond its rim the rim's values go on.

    The axes of both grids are the same, so that the interpolation is one matrix for each axis.
    """
    first = field.TransformPhysicalPointToContinuousIndex(image.GetOrigin())
    steps = (fine / coarse for fine, coarse in zip(image.GetSpacing(), field.GetSpacing(), strict=True))
    parts = zip(first, steps, image.GetSize(), field.GetSize(), strict=True)
    along_x, along_y, along_z = (_spline_matrix(start + step * np.arange(n), knots) for start, step, n, knots in parts)
    values = sitk.GetArrayViewFromImage(field)
    values = (along_z @ values.reshape(len(values), -1)).reshape(-1, *values.shape[1:])
    enlarged = sitk.GetImageFromArray(along_y @ values @ along_x.T)
    enlarged.CopyInformation(image)
    return enlarged


def _spline_matrix(at: np.ndarray, knots: int) -> np.ndarray:
    """Return the float32 matrix from the values at 0, 1, ..., knots - 1 to those of their cubic spline at `at`."""
    inside = np.clip(at, 0, knots - 1)
    units = (map_coordinates(unit, [inside], order=3, mode="mirror") for unit in np.eye(knots))
    return np.stack(list(units), axis=1).astype(np.float32)


def _bounded(log_field: sitk.Image, mask: sitk.Image) -> sitk.Image:
    """Return the field, kept outside the mask within what it reaches inside, and scaled to a geometric mean of 1."""
    inside = sitk.GetArrayViewFromImage(log_field)[sitk.GetArrayViewFromImage(mask) > 0]
    low, high, mean = float(inside.min()), float(inside.max()), float(inside.mean(dtype=np.float64))
    return sitk.Exp(sitk.Clamp(log_field, lowerBound=low, upperBound=high) - mean)


def _count(mask: sitk.Image) -> int:
    return int(np.count_nonzero(sitk.GetArrayViewFromImage(mask)))
