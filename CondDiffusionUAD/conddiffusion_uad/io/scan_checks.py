"""Is this file a brain scan that can be worked with? Each check raises one clear BadInput."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io.intensities import check_range
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

MAX_VOXELS = 2**28  # 1 GiB as float32; a whole head at 0.5 mm has half of that
MIN_SIZE = 8  # voxels along each axis: fewer cannot be brought to the atlas
MAX_LABELS = 512  # more different values are not labels
PATCHY = 0.6  # share of neighbors with one value: 0.85 or more in label maps, 0.5 or less in scans of 8 gray levels
_FEW_LABELS = 8
_LOOK = 1 << 17  # voxels that tell whether there are many values


def check_name(path: Path) -> None:
    """Raise BadInput("not_readable") for a path that UTF-8 cannot hold: SimpleITK ends the process over it."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput("not_readable", f"The name {path.name} is no valid text.", "Rename it.") from error


def not_one_value(name: str, count: int | str) -> BadInput:
    """The failure for voxels that hold several values."""
    return BadInput(
        "is_rgb",
        f"{name} has {count} values in every voxel (a color, complex or vector image), not one intensity.",
        "Choose the magnitude image in gray values.",
    )


def check_shape(size: tuple[int, ...], name: str, reading: Reading) -> tuple[int, int, int]:
    """The size, when number of axes and of voxels are right. Raises BadInput: not_3d, too_small or too_large."""
    shape = " x ".join(str(n) for n in size)
    if len(size) > 3 and min(size[:3]) > 1:
        message = f"{name} holds {math.prod(size[3:])} volumes ({shape} voxels), such as points in time, not one."
        raise BadInput("not_3d", message, "Save the one to examine as a file of its own.")
    if len(size) != 3 or (min(size) == 1 and not reading.anything):
        raise BadInput("not_3d", f"{name} is not a 3D volume ({shape} voxels).", "Choose one 3D volume of the series.")
    if min(size) < MIN_SIZE and not reading.anything:
        raise BadInput(
            "too_small", f"{name} has only {shape} voxels.", f"At least {MIN_SIZE} voxels are needed along each axis."
        )
    if math.prod(size) > MAX_VOXELS:
        raise BadInput("too_large", f"{name} says it has {shape} voxels.", f"At most {MAX_VOXELS} voxels are accepted.")
    return size[0], size[1], size[2]


def check_intensities(image: sitk.Image, name: str, reading: Reading) -> None:
    """Check that the voxels, all finite, hold intensities.

    Raises:
        BadInput: all_zero, constant, bad_intensities or label_map.
    """
    values = sitk.GetArrayViewFromImage(image)
    low, high = float(values.min()), float(values.max())
    if low == high:
        if low == 0:
            raise BadInput("all_zero", f"Every voxel of {name} is 0.", "Choose the volume that shows the brain.")
        raise BadInput("constant", f"Every voxel of {name} is {low:g}.", "Choose the volume that shows the brain.")
    check_range(low, high, name)
    count = _labels(values)
    if count:
        reading.doubt(
            "label_map",
            f"{name} looks like a label map, not a scan: it holds only {count} different values, in patches.",
            "Choose the scan itself: it has many gray values, and neighboring voxels differ.",
            "its values are taken as intensities",
        )


def _labels(values: np.ndarray) -> int:
    """The number of different values if they look like labels (few, in patches), else 0."""
    flat = values.ravel()
    if len(np.unique(flat[:: 1 + flat.size // _LOOK])) > MAX_LABELS:
        return 0
    distinct, counts = np.unique(flat, return_counts=True)
    if len(distinct) > MAX_LABELS:
        return 0
    left_out = [distinct[counts.argmax()]]
    if len(distinct) > _FEW_LABELS:
        left_out.append(distinct[-1])  # of a scan that is cut off at its brightest, which makes patches of them
    return len(distinct) if _is_patchy(values, left_out) else 0


def _is_patchy(values: np.ndarray, left_out: list[float]) -> bool:
    """Whether most other voxels equal their neighbor, as in a parcellation and in no scan."""
    here, after = values[..., :-1], values[..., 1:]
    counted = ~(np.isin(here, left_out) | np.isin(after, left_out))
    return bool(counted.any()) and float((here == after)[counted].mean()) > PATCHY
