"""Where zero is: the background of a scan, whatever value it was given, and the intensities above it.

A scan may have been shifted, scaled, z-scored or padded since it was taken. All that follows sees it as if it had not:
the background is 0, what is brighter is positive, and the scale is the same up to a factor of 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io.outside import darkest

Values = TypeVar("Values", sitk.Image, np.ndarray)

MAD_TO_SIGMA = 1.4826  # from the median absolute deviation to the standard deviation of a normal distribution
CONSTANT = 0.2  # share of the sides that must hold one value for it to be the background
PADDING = 0.02  # share of the sides that must hold a value for it to be padding
LEAST_AIR = 0.05  # share of the sides that must be something else than padding, for that to be air
DARK = 0.15  # share of the range of intensities below which air lies
GAP = 0.1  # share of the range of intensities by which padding lies off the air
FAR = 1.0  # the same, when there is no air on the sides: no tissue stands out so little above a true zero
INSIDE = 0.02  # share of the range by which a background above the darkest tissue is no zero of the intensities
BESIDE = 8  # values of the tissue on each side of the background's, which tell how frequent that one is in tissue
BY_CHANCE = 0.2  # share of the enclosed voxels of the background's value that may be tissue, to be holes
MOST = 512.0  # the bright intensities come to lie between this and twice as much
_SAMPLES = 1 << 20


@dataclass(frozen=True)
class Leveled:
    """A scan above its background.

    Attributes:
        image: float32, 0 where the background is one value.
        zero: Intensity of the scan that became 0.
        scale: What the intensities above were multiplied by, a power of 2.
        spread: Of the background, after that: standard deviation of its noise, roughly.
    """

    image: sitk.Image
    zero: float = 0.0
    scale: float = 1.0
    spread: float = 0.0

    @cached_property
    def bright(self) -> float:
        """How far the bright voxels lie above the background."""
        array = sitk.GetArrayViewFromImage(self.image)
        other = array[array != 0]
        return max(float(np.percentile(other, 99)), 1e-6) if other.size else 1e-6

    def undo(self, values: Values) -> Values:
        """Leveled values in the scan's own units: v / scale + zero."""
        return values * (1.0 / self.scale) + self.zero


def level(image: sitk.Image) -> Leveled:
    """Find the background of a scan and bring it to 0.

    Args:
        image: float32, finite; axes near L, P, S.
    """
    values = _without_padding(sitk.GetArrayViewFromImage(image))
    side = sides(values)
    found = _most_frequent(side)
    if found is not None and np.mean(side == found) >= CONSTANT:
        zero, values = _above_constant(values, found)
    else:
        zero = float(np.percentile(side, 1.0))
    values = values - np.float32(zero)  # a copy, which may be changed
    bright = float(np.percentile(_sample(values), 99.5))
    scale = 2.0 ** -np.floor(np.log2(bright / MOST)) if bright > 0 else 1.0
    values *= np.float32(scale)
    leveled = sitk.GetImageFromArray(values)
    leveled.CopyInformation(image)
    noise = sides(values)
    spread = MAD_TO_SIGMA * float(np.median(np.abs(noise - np.median(noise))))
    return Leveled(leveled, zero, scale, spread)


def sides(values: np.ndarray) -> np.ndarray:
    """The voxels on the left, right, front and back sides of a volume (z, y, x). Above and below, a head may be cut."""
    return np.concatenate([side.ravel() for side in (values[:, 0], values[:, -1], values[:, :, 0], values[:, :, -1])])


def _above_constant(values: np.ndarray, background: float) -> tuple[float, np.ndarray]:
    """Zero, and the values, of a scan whose background is one value: that, if all tissue is brighter."""
    tissue = values[values != background]
    if not tissue.size:
        return background, values
    low, high = np.percentile(_sample(tissue), [1.0, 99.0])
    if background <= low + INSIDE * (high - low):
        return background, values
    zero, empty = darkest(tissue), values == background
    outside = _outside(empty)
    holes = np.count_nonzero(empty & ~outside)
    if holes and _by_chance(tissue, background) <= BY_CHANCE * holes:
        outside = empty
    return zero, np.where(outside, np.float32(zero), values)


def _by_chance(tissue: np.ndarray, background: float) -> float:
    """How many voxels of tissue may be expected to have the value of the background, by the values beside it."""
    found, counts = np.unique(tissue, return_counts=True)
    at = int(np.searchsorted(found, background))
    near = slice(max(at - BESIDE, 0), at + BESIDE)
    step = float(np.median(np.diff(found[near]))) if found[near].size > 2 else 0.0
    if 0 < at < found.size and found[at] - found[at - 1] < 1.5 * step:
        return 0.0  # no gap is left between the values on both sides: tissue does not take this one
    return float(np.mean(counts[near]))


def _without_padding(values: np.ndarray) -> np.ndarray:
    """The values with air where a scan was padded by the lowest or the highest value of all."""
    for padding in (values.min(), values.max()):
        side = sides(values)
        share = float(np.mean(side == padding))
        others = _sample(values[values != padding])
        if share < PADDING or not others.size:
            continue
        low, high = np.percentile(others, [1.0, 99.0])
        air = side[side != padding]
        if air.size >= LEAST_AIR * side.size and np.median(air) < low + DARK * (high - low):
            off, fill = GAP, float(np.percentile(air, 10.0))
        else:
            off, fill = FAR, darkest(others)
        if abs(float(padding) - (fill if padding < low else high)) > off * (high - low):
            values = np.where(_outside(values == padding), np.float32(fill), values)
    return values


def _outside(mask: np.ndarray) -> np.ndarray:
    """The connected parts of a mask (z, y, x) that touch a side of the volume."""
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))))
    touching = np.unique(np.concatenate([sides(parts), parts[0].ravel(), parts[-1].ravel()]))
    return np.isin(parts, touching[touching > 0])


def _most_frequent(values: np.ndarray) -> float | None:
    found, counts = np.unique(values, return_counts=True)
    return float(found[counts.argmax()]) if found.size else None


def _sample(values: np.ndarray) -> np.ndarray:
    """At most about a million of the values, evenly taken: enough for percentiles."""
    flat = values.ravel()
    return flat[:: 1 + flat.size // _SAMPLES]
