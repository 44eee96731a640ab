"""Turn a scan's axes to the ones nearest to L, P, S by permutation and flips only, exactly undoable."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io.volume import Grid


@dataclass(frozen=True)
class Oriented:
    """A scan with its axes along L, P, S as nearly as its own axes allow, and the way back.

    Attributes:
        image: The turned scan, or the scan itself; every voxel keeps its value and its place in the patient.
        axes: The source axis of each new axis.
        flips: Whether each new axis runs against its source axis.
        source: Grid of the scan as it was given.
        grid: Grid of the turned scan.
    """

    image: sitk.Image
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    source: Grid
    grid: Grid

    def undo(self, image: sitk.Image) -> sitk.Image:
        """Return an image on the turned grid turned back, on exactly the source grid; values are untouched."""
        back = np.empty(self.source.size[::-1], sitk.GetArrayViewFromImage(image).dtype)
        self.turned(back)[...] = sitk.GetArrayViewFromImage(image)
        return self.source.with_array(back)

    def turned(self, array: np.ndarray) -> np.ndarray:
        """An array (z, y, x) on the source grid as one on the turned grid, which shares its values."""
        return _turned(array, self.axes, self.flips)


def orient(image: sitk.Image) -> Oriented:
    """Permute and flip the axes of a 3D image so that they run to the left, to the back and up.

    The permutation is the one whose axes agree best with L, P, S together, so that a scan tilted by 45 degrees
    still gets three different axes.
    """
    direction = np.array(image.GetDirection()).reshape(3, 3)
    x, y, z = max(permutations(range(3)), key=lambda order: sum(abs(direction[row, order[row]]) for row in range(3)))
    axes, flips = (x, y, z), (bool(direction[0, x] < 0), bool(direction[1, y] < 0), bool(direction[2, z] < 0))
    source = Grid.of(image)
    if axes == (0, 1, 2) and not any(flips):
        return Oriented(image, axes, flips, source, source)
    corner = [0, 0, 0]  # which voxel becomes the first
    for axis, flip in zip(axes, flips, strict=True):
        corner[axis] = source.size[axis] - 1 if flip else 0
    turned = sitk.GetImageFromArray(np.ascontiguousarray(_turned(sitk.GetArrayViewFromImage(image), axes, flips)))
    turned.SetOrigin(image.TransformIndexToPhysicalPoint(corner))
    turned.SetSpacing([source.spacing[axis] for axis in axes])
    turned.SetDirection((direction[:, axes] * np.where(flips, -1.0, 1.0)).flatten())
    return Oriented(turned, axes, flips, source, Grid.of(turned))


def _turned(array: np.ndarray, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> np.ndarray:
    """A view of an array (z, y, x) with its axes permuted, then flipped, as `Oriented` tells."""
    x, y, z = axes
    ways = tuple(slice(None, None, -1 if flip else None) for flip in flips[::-1])
    return array.transpose(2 - z, 2 - y, 2 - x)[ways]
