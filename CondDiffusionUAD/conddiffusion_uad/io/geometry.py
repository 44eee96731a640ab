"""Where voxels lie: from an affine matrix to a grid of perpendicular axes, and the checks of both."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io.grid import Grid, three
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

MIN_EXTENT_MM = 30.0
MAX_EXTENT_MM = 600.0
SPACING_MM = (0.05, 20.0)
MAX_SHEAR = 0.01  # largest scalar product of two axes' unit vectors: 0.6 degrees away from a right angle
_SCAN = Reading()
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # from RAS to LPS, and back


def grid_of(affine: np.ndarray, size: tuple[int, ...], name: str, sheared: str = "", reading: Reading = _SCAN) -> Grid:
    """The grid of a scan.

    Axes that are off a right angle by rounding are straightened about the middle of the scan, so that no voxel moves
    by more than half of what the farthest would.

    Args:
        affine: 4x4 matrix from voxel indices (x, y, z) to LPS mm.
        size: Voxels along x, y, z.
        sheared: What to say of axes that are not at right angles; empty for the usual sentence.
        reading: Whether it may be thin, or anything.

    Raises:
        BadInput: bad_spacing, too_small or bad_direction.
    """
    columns = np.asarray(affine, float)[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    check_sizes(spacing, size, name, reading)
    if not np.isfinite(affine).all():
        raise bad_direction(name)
    direction = columns / spacing
    if shear_of(affine) > MAX_SHEAR:
        raise bad_direction(name, sheared)
    left, _, right = np.linalg.svd(direction)
    straight = left @ right
    middle = (np.array(size) - 1) / 2
    origin = np.asarray(affine)[:3, 3] + (columns - straight * spacing) @ middle
    if np.abs(direction - straight).max() < 1e-12:
        straight, origin = direction, np.asarray(affine)[:3, 3]
    return Grid(
        three(map(int, size)), three(spacing.tolist()), three(origin.tolist()), tuple(straight.ravel().tolist())
    )


def is_thin(image: sitk.Image) -> bool:
    """Whether an image covers less than MIN_EXTENT_MM along one axis: too little of a head to be registered."""
    return min(n * s for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)) < MIN_EXTENT_MM


def shear_of(affine: np.ndarray) -> float:
    """How far the axes are off right angles: the largest scalar product of two of their unit vectors."""
    direction = affine[:3, :3] / np.maximum(np.linalg.norm(affine[:3, :3], axis=0), 1e-12)
    return float(np.abs(direction.T @ direction - np.eye(3)).max())


def check_sizes(spacing: np.ndarray, size: tuple[int, ...], name: str, reading: Reading) -> None:
    """Check the size of voxels and of the whole. Raises BadInput: bad_spacing or too_small."""
    least_mm, most_mm = (1e-6, np.inf) if reading.anything else SPACING_MM
    if not np.isfinite(spacing).all() or min(spacing) < least_mm or max(spacing) > most_mm:
        raise BadInput(
            "bad_spacing",
            f"{name} says its voxels measure {_by(spacing, 'g')} mm.",
            f"Spacings from {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm are accepted; correct the header.",
        )
    if reading.anything:
        return
    extent = np.array(spacing) * size
    least = np.sort(extent)[1 if reading.thin else 0]
    if least < MIN_EXTENT_MM or extent.max() > MAX_EXTENT_MM:
        code = "too_small" if least < MIN_EXTENT_MM else "bad_spacing"
        hint = f"Extents from {MIN_EXTENT_MM:.0f} to {MAX_EXTENT_MM:.0f} mm are accepted."
        raise BadInput(code, f"{name} covers {_by(extent, '.0f')} mm, which is not a head.", hint)


def unplaced(name: str, why: str, reading: Reading) -> None:
    """Doubt a NRRD or MetaImage file that does not say how it lies. Raises BadInput("no_orientation")."""
    reading.doubt(
        "no_orientation",
        f"{name} does not say how it lies in the patient ({why}), so left and right are not known.",
        "Convert it again from DICOM, or set its orientation.",
        "its axes are taken to run to the left, to the back and up, as in ITK",
    )


def without_origin(name: str, why: str, reading: Reading) -> None:
    """Tell of a file that says how its axes run, but not where they begin."""
    message = f"{name} does not say where its first voxel lies ({why})."
    reading.warn("no_origin", message, "It is taken to lie at 0, 0, 0; sides and sizes do not depend on it.")


def bad_direction(name: str, why: str = "") -> BadInput:
    """The failure for axes that are not at right angles or not three."""
    return BadInput(
        "bad_direction",
        why or f"The axes of {name} are not three directions at right angles to each other.",
        "Resample the scan to a regular grid first (in Slicer: Resample Scalar Volume).",
    )


def affine_of(grid: Grid) -> np.ndarray:
    """The 4x4 matrix from voxel indices (x, y, z) to LPS mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(grid.direction, (3, 3)) * grid.spacing
    affine[:3, 3] = grid.origin
    return affine


def farthest(first: np.ndarray, second: np.ndarray, size: tuple[int, ...]) -> float:
    """The largest distance, mm, between the places that two affine matrices give to a corner of a scan."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size])).reshape(3, -1)
    apart = (first - second)[:3, :3] @ corners + (first - second)[:3, 3:]
    return float(np.linalg.norm(apart, axis=0).max())


def _by(values: np.ndarray, form: str) -> str:
    return " x ".join(f"{value:{form}}" for value in values)
