"""What lies outside of the field of view, filled so that it looks like air: NaN, and what a tag calls padding."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

_DARKEST = 0.1  # percentile of the scan that is no outlier
_NEAR = 0.02  # share of the range by which the least value may lie below that, to stand for air
_FEW = 0.01  # share of the other voxels up to which there may be some inside, when the outside is no number, either


def filled(image: sitk.Image, name: str, reading: Reading, padding: np.ndarray | None = None) -> sitk.Image:
    """Fill what reaches in from the sides of a scan and is no number, or padding, with its darkest values.

    Args:
        image: float32.
        reading: Is told when a few voxels inside are filled, too.
        padding: bool (z, y, x), the voxels that hold the value that a tag calls padding; inside of the head it may be
            an intensity like any other.

    Raises:
        BadInput: not_finite when there are other voxels that are no numbers.
    """
    values = sitk.GetArrayViewFromImage(image)
    odd = ~np.isfinite(values)
    if not odd.any() and (padding is None or not padding.any()):
        return image
    outside = _reaching_in(odd if padding is None else odd | padding)
    inner = int(np.count_nonzero(odd & ~outside))
    few = inner <= _FEW * np.count_nonzero(~odd & ~outside) and (odd & outside).any()
    if (inner and not few) or outside.all() or _cuts_through(outside):
        count = inner or int(np.count_nonzero(odd))
        message = f"{name} has {count} voxels inside of the image that are not numbers (NaN or infinite)."
        raise BadInput("not_finite", message, "Export the scan again.")
    if inner:
        message = f"{name} has {inner} voxels that are not numbers inside of the image, too."
        reading.warn("not_finite", message, "They are taken for as dark as the darkest others.")
    outside |= odd
    result = np.where(outside, darkest(values[~outside]), values).astype(np.float32)
    made = sitk.GetImageFromArray(result)
    made.CopyInformation(image)
    for key in image.GetMetaDataKeys():
        made.SetMetaData(key, image.GetMetaData(key))
    return made


def darkest(values: np.ndarray) -> float:
    """What stands for air among values: the least, as no signal is below 0, unless it is an outlier."""
    dark, low, high = (float(value) for value in np.percentile(values, [_DARKEST, 1.0, 99.0]))
    return max(float(values.min()), dark - _NEAR * (high - low))


def _cuts_through(outside: np.ndarray) -> bool:
    """Whether whole slices lie outside that have others on both sides."""
    for axis in range(3):
        inside = np.flatnonzero(~outside.all(axis=tuple({0, 1, 2} - {axis})))
        if inside[-1] - inside[0] + 1 > len(inside):
            return True
    return False


def _reaching_in(odd: np.ndarray) -> np.ndarray:
    """The connected parts of a mask (z, y, x) that touch a side of it."""
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(odd.astype(np.uint8))))
    sides = [side for axis in range(3) for side in (parts.take(0, axis), parts.take(-1, axis))]
    touching = np.unique(np.concatenate([side.ravel() for side in sides]))
    return np.isin(parts, touching[touching > 0])
