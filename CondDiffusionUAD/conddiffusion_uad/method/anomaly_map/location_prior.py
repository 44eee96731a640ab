"""Where healthy brains are often marked, and how much is taken off a map there.

Maps are wrong in the same places of many healthy brains. How high they go there, at 4 mm and on both sides alike, is
kept with the method; what is above the usual height of such places is taken off by half, so that elsewhere the map
stays as it is.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from conddiffusion_uad.io.volume import Grid

PLACES = Grid((40, 48, 40), (4.0, 4.0, 4.0), (-78.0, -78.0, -74.0))
"""The cells, in the atlas; the middle of the brain is between two of them."""
SHARE = 0.5  # of what is above the usual height
SMOOTHING = 0.7  # cells, standard deviation
LEAST = 0.5  # height of a place that takes part in what is usual; others lie outside the brain
STEP = 0.05  # of what is kept, in the unit of the map


@dataclass(frozen=True)
class LocationPrior:
    """How much is taken off.

    Attributes:
        lowered: Of the left half of the cells and, mirrored, of the right; uint8 (40, 48, 20), in :data:`STEP`.
    """

    lowered: np.ndarray

    @classmethod
    def measure(cls, healthy: Sequence[tuple[np.ndarray, Grid]]) -> LocationPrior:
        """The prior of healthy brains' maps, each with the grid that it lies on, in the atlas.

        Raises:
            ValueError: There are no maps, or nothing in them.
        """
        heights = [ndimage.gaussian_filter(_largest(found, grid), SMOOTHING) for found, grid in healthy]
        if not heights:
            raise ValueError("there are no healthy maps to make a location prior of")
        height = np.max([*heights, *(each[..., ::-1] for each in heights)], axis=0)
        if not (height > LEAST).any():
            raise ValueError("the healthy maps are too low to make a location prior of")
        above = np.maximum(height - np.median(height[height > LEAST]), 0)
        steps = np.minimum(np.rint(SHARE * above / STEP), 255).astype(np.uint8)
        return cls(steps[..., PLACES.size[0] // 2 :])

    def at(self, grid: Grid) -> np.ndarray:
        """What is taken off a map on a grid in the atlas, float32 (z, y, x), linear between the cells."""
        whole = np.concatenate([self.lowered[..., ::-1], self.lowered], axis=-1) * np.float32(STEP)
        places = PLACES.with_array(whole.astype(np.float32))
        return sitk.GetArrayFromImage(sitk.Resample(places, grid.blank(), sitk.Transform(), sitk.sitkLinear, 0.0))

    def to_text(self) -> str:
        """As a configuration keeps it: zlib's compression of the bytes, in base64."""
        return base64.b64encode(zlib.compress(self.lowered.tobytes(), 9)).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> LocationPrior:
        """The inverse of :meth:`to_text`. Raises ValueError when the text is none of its texts."""
        shape = (PLACES.size[2], PLACES.size[1], PLACES.size[0] // 2)
        size = int(np.prod(shape))
        stream = zlib.decompressobj()
        try:
            values = stream.decompress(base64.b64decode(text, validate=True), size + 1)
        except (binascii.Error, zlib.error) as error:
            raise ValueError(f"a location prior is damaged: {error}") from error
        if len(values) != size or not stream.eof:
            raise ValueError(f"a location prior has {size} cells, not more or fewer")
        return cls(np.frombuffer(values, np.uint8).reshape(shape))


def _largest(found: np.ndarray, grid: Grid) -> np.ndarray:
    """The largest value of a map in each cell, float32 (z, y, x); 0 where there is none."""
    cells = np.zeros(PLACES.size[::-1], np.float32)
    place = [
        np.rint((origin + step * np.arange(size) - first) / width).astype(int)
        for origin, step, size, first, width in zip(
            grid.origin, grid.spacing, grid.size, PLACES.origin, PLACES.spacing, strict=True
        )
    ]
    inside = [(cell >= 0) & (cell < size) for cell, size in zip(place, PLACES.size, strict=True)]
    z, y, x = (cell[kept] for cell, kept in zip(place[::-1], inside[::-1], strict=True))
    np.maximum.at(cells, np.ix_(z, y, x), found[np.ix_(*inside[::-1])])
    return cells
