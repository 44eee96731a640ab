"""The grid of an image: where its voxels lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import SimpleITK as sitk

T = TypeVar("T")


def three(values: Iterable[T]) -> tuple[T, T, T]:
    """Values for x, y, z. Raises ValueError for another count."""
    x, y, z = values
    return x, y, z


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a 3D image lie, in SimpleITK's conventions: axes x, y, z; LPS millimeters.

    Attributes:
        size: Voxels along each axis.
        spacing: Distance of neighboring voxel centers along each axis, mm.
        origin: Center of the voxel (0, 0, 0), mm.
        direction: 3x3 matrix, row by row; column k is the unit vector of axis k.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        """Return the grid of an image."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    def blank(self, pixel: int = sitk.sitkFloat32) -> sitk.Image:
        """Return an image of zeros on this grid."""
        return self._place(sitk.Image([int(n) for n in self.size], pixel))

    def with_array(self, array_zyx: np.ndarray) -> sitk.Image:
        """Return an image on this grid with the values of an array (z, y, x). Raises ValueError for another shape."""
        if array_zyx.shape != tuple(self.size[::-1]):
            raise ValueError(f"An array of shape {array_zyx.shape} does not fit a grid of size {self.size} (x, y, z).")
        return self._place(sitk.GetImageFromArray(np.ascontiguousarray(array_zyx)))

    def index(self, point: Iterable[float]) -> tuple[int, int, int]:
        """Return the index (x, y, z) of the voxel of this lattice that is nearest to a point in mm."""
        axes = np.reshape(self.direction, (3, 3)) * self.spacing
        return three(int(n) for n in np.rint(np.linalg.solve(axes, np.subtract(three(point), self.origin))))

    def to_json(self) -> dict[str, Any]:
        """Return the grid as plain JSON values."""
        return {name: list(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Grid:
        """Return the grid from plain JSON values. Raises KeyError and ValueError."""
        size = three(int(n) for n in values["size"])
        spacing, origin = (three(float(v) for v in values[name]) for name in ("spacing", "origin"))
        direction = tuple(float(v) for v in values["direction"])
        finite = np.isfinite([*spacing, *origin, *direction]).all()
        if len(direction) != 9 or not finite or min(*size, *spacing) <= 0:
            raise ValueError(f"Not a grid: {dict(values)}")
        if abs(abs(np.linalg.det(np.reshape(direction, (3, 3)))) - 1) > 0.1:
            raise ValueError(f"Not a grid: {dict(values)}")
        return cls(size, spacing, origin, direction)

    def _place(self, image: sitk.Image) -> sitk.Image:
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image
