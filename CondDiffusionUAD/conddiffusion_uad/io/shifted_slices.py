"""Images that are shifted against each other within their plane, as with a tilted gantry, on a regular grid."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import geometry
from conddiffusion_uad.io.grid import Grid, three
from conddiffusion_uad.io.outside import darkest


def straightened(image: sitk.Image, shift: tuple[float, float]) -> sitk.Image:
    """Shift each slice to its place, with linear interpolation within it; no slice gets values of another.

    Args:
        image: float32, as if the slices lay right behind each other.
        shift: Pixels along x and y from one slice to the next.

    Returns:
        The image on a grid that is as much larger as all slices need; what no slice covers is as dark as the darkest.
    """
    grid, last = Grid.of(image), image.GetSize()[2] - 1
    begin = [min(0.0, pixels * last) for pixels in shift]
    more = [math.ceil(abs(pixels) * last - 1e-6) for pixels in shift]
    size = (grid.size[0] + more[0], grid.size[1] + more[1], grid.size[2])
    values = sitk.GetArrayViewFromImage(image)
    from_place = sitk.AffineTransform([1, 0, -shift[0], 0, 1, -shift[1], 0, 0, 1], [*begin, 0.0])
    moved = sitk.Resample(
        sitk.GetImageFromArray(values), size, from_place, sitk.sitkLinear, defaultPixelValue=darkest(values)
    )
    affine = geometry.affine_of(grid)
    affine[:3, 3] += affine[:3, :2] @ np.array(begin)
    return Grid(size, grid.spacing, three(affine[:3, 3].tolist()), grid.direction).with_array(
        sitk.GetArrayViewFromImage(moved)
    )
