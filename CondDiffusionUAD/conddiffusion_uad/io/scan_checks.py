"""Is this file a brain scan that can be worked with? Each check raises one clear BadInput."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.protocol.failures import BadInput

MAX_VOXELS = 2**28  # 1 GiB as float32; a whole head at 0.5 mm has half of that
MIN_SIZE = 8  # voxels along each axis: fewer cannot be brought to the atlas
MIN_EXTENT_MM = 30.0
MAX_EXTENT_MM = 600.0
SPACING_MM = (0.05, 20.0)
MOST_INTENSITY, LEAST_RANGE = 1e15, 1e-15  # beyond, the squares of float32 leave its range
MAX_LABELS = 32  # distinct whole numbers up to which an image is surely a label map
MAX_SHEAR = 0.02  # largest scalar product of two axes' unit vectors: 1.1 degrees away from a right angle


def check_name(path: Path) -> None:
    """Raise BadInput("not_readable") for a path that UTF-8 cannot hold: SimpleITK ends the process over it."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput("not_readable", f"The name {path.name} is no valid text.", "Rename it.") from error


def check_header(reader: sitk.ImageFileReader, path: Path) -> None:
    """Check what a file's header says, before its voxels are read.

    Raises:
        BadInput: is_rgb, not_3d, too_small or too_large.
    """
    name = path.name
    if reader.GetNumberOfComponents() != 1 or "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        count = reader.GetNumberOfComponents()
        raise BadInput(
            "is_rgb",
            f"{name} has {count} values in every voxel (a color or vector image), not one intensity.",
            "Choose the magnitude image in gray values.",
        )
    size = reader.GetSize()
    check_shape(size[:3] if len(size) == 4 and size[3] == 1 else size, name)


def check_shape(size: tuple[int, ...], name: str) -> None:
    """Check the number of axes and of voxels. Raises BadInput: not_3d, too_small or too_large."""
    shape = " x ".join(str(n) for n in size)
    if len(size) != 3 or min(size) == 1:
        raise BadInput("not_3d", f"{name} is not a 3D volume ({shape} voxels).", "Choose one 3D volume of the series.")
    if min(size) < MIN_SIZE:
        raise BadInput(
            "too_small", f"{name} has only {shape} voxels.", f"At least {MIN_SIZE} voxels are needed along each axis."
        )
    if math.prod(size) > MAX_VOXELS:
        raise BadInput("too_large", f"{name} says it has {shape} voxels.", f"At most {MAX_VOXELS} voxels are accepted.")


def bad_direction(name: str) -> BadInput:
    """Return the failure for axes that are not at right angles or not three."""
    return BadInput(
        "bad_direction",
        f"The axes of {name} are not three directions at right angles to each other.",
        "Resample the scan to a regular grid first (in Slicer: Resample Scalar Volume).",
    )


def is_thin(image: sitk.Image) -> bool:
    """Whether an image covers less than MIN_EXTENT_MM along one axis: too little of a head to be registered."""
    return min(n * s for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)) < MIN_EXTENT_MM


def check_geometry(image: sitk.Image, name: str, *, thin: bool = False) -> None:
    """Check spacing, extent and axes; axes off a right angle by rounding are straightened in place.

    Args:
        image: To be checked.
        name: Of its file.
        thin: Whether it may cover less than MIN_EXTENT_MM along one axis.

    Raises:
        BadInput: bad_spacing, too_small or bad_direction.
    """
    spacing = np.array(image.GetSpacing())
    direction = np.array(image.GetDirection()).reshape(3, 3)
    if not np.isfinite(spacing).all() or spacing.min() < SPACING_MM[0] or spacing.max() > SPACING_MM[1]:
        listed = " x ".join(f"{value:g}" for value in spacing)
        raise BadInput(
            "bad_spacing",
            f"{name} says its voxels measure {listed} mm.",
            f"Spacings from {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm are accepted.",
        )
    extent = spacing * image.GetSize()
    least = np.sort(extent)[1 if thin else 0]
    if least < MIN_EXTENT_MM or extent.max() > MAX_EXTENT_MM:
        listed = " x ".join(f"{value:.0f}" for value in extent)
        code = "too_small" if least < MIN_EXTENT_MM else "bad_spacing"
        hint = f"Extents from {MIN_EXTENT_MM:.0f} to {MAX_EXTENT_MM:.0f} mm are accepted."
        raise BadInput(code, f"{name} covers {listed} mm, which is not a head.", hint)
    if not np.isfinite([*image.GetOrigin(), *direction.flat]).all():
        raise bad_direction(name)
    image.SetDirection(straightened(direction, name).flatten())


def straightened(direction: np.ndarray, name: str) -> np.ndarray:
    """Return the 3x3 matrix of perpendicular unit axes nearest to the given ones. Raises BadInput: bad_direction."""
    products = direction.T @ direction
    if np.abs(products - np.eye(3)).max() > MAX_SHEAR:
        raise bad_direction(name)
    left, _, right = np.linalg.svd(direction)
    return left @ right


def check_finite(values: np.ndarray, name: str) -> None:
    """Raise BadInput("not_finite") when there is NaN or infinity among the values."""
    if np.isfinite([values.min(), values.max()]).all():
        return
    count = int(values.size - np.isfinite(values).sum())
    raise BadInput(
        "not_finite", f"{name} has {count} voxels that are not numbers (NaN or infinite).", "Export the scan again."
    )


def check_intensities(image: sitk.Image, name: str) -> None:
    """Check that the voxels hold intensities.

    Raises:
        BadInput: not_finite, all_zero, constant, bad_intensities or label_map.
    """
    values = sitk.GetArrayViewFromImage(image)
    check_finite(values, name)
    low, high = float(values.min()), float(values.max())
    if low == high:
        if low == 0:
            raise BadInput("all_zero", f"Every voxel of {name} is 0.", "Choose the volume that shows the brain.")
        raise BadInput("constant", f"Every voxel of {name} is {low:g}.", "Choose the volume that shows the brain.")
    if max(abs(low), abs(high)) > MOST_INTENSITY or high - low < LEAST_RANGE:
        raise BadInput(
            "bad_intensities",
            f"The intensities of {name} go from {low:g} to {high:g}, with which nothing can be computed.",
            "Export the scan again, with its intensities as whole numbers.",
        )
    count = _labels(values)
    if count:
        raise BadInput(
            "label_map",
            f"{name} looks like a label map, not a scan: it holds only {count} different whole numbers.",
            "Choose the scan itself. A scan has many gray values, and neighboring voxels differ.",
        )


def _labels(values: np.ndarray) -> int:
    """Return the number of distinct values if they look like labels (few, whole), else 0."""
    if not np.array_equal(values, np.rint(values)):
        return 0
    distinct = _distinct(values)
    return distinct if distinct <= MAX_LABELS or (distinct <= 512 and _is_patchy(values)) else 0


def _distinct(values: np.ndarray) -> int:
    """Return the number of distinct values, all of them whole."""
    low, high = values.min(), values.max()
    if high - low >= 2**16:
        return len(np.unique(values))
    return np.count_nonzero(np.bincount((values - low).astype(np.intp).ravel()))  # counting is quicker than sorting


def _is_patchy(values: np.ndarray) -> bool:
    """Whether most voxels of the foreground equal their neighbor, as in a parcellation and in no scan."""
    here, after = values[..., :-1], values[..., 1:]
    foreground = (here != 0) & (after != 0)
    return bool(foreground.any()) and float((here == after)[foreground].mean()) > 0.6
