"""The brain in a single axial T2-weighted slice, where a skull stripper for volumes has nothing to go by."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.measure import regionprops
from skimage.morphology import disk

_BLUR = 0.7  # pixels
_HEAD = 0.06  # of the brightest intensity: what is brighter is not air
_DEEP = 25  # pixels below the scalp there is only brain
_BRAIN = 0.55  # of the median intensity deep inside: bone is darker, brain and fluid are brighter
_BRIDGE = 4  # pixels: what connects brain and scalp is thinner than twice this
_SULCUS = 6  # pixels: sulci up to twice this wide are closed
_SMOOTH = 3
_SOLIDITY = 0.955  # area against that of the convex hull; slices through the skull base, with eyes, have less
_SMALLEST = 4000  # pixels


def outline(image: np.ndarray) -> np.ndarray | None:
    """Find the brain by the dark ring of bone around it.

    Args:
        image: Axial T2-weighted slice with about 1 mm pixels, float, air near 0.

    Returns:
        Boolean mask of the brain with its sulci; None when the slice does not show a brain in a closed ring.
    """
    smooth = ndimage.gaussian_filter(image, _BLUR)
    head = ndimage.binary_fill_holes(smooth > _HEAD * smooth.max())
    deep = ndimage.binary_erosion(head, disk(_DEEP))
    if not deep.any():
        return None
    bright = head & (smooth > _BRAIN * np.median(smooth[deep]))
    core = _largest(ndimage.binary_erosion(bright, disk(_BRIDGE)))
    brain = ndimage.binary_dilation(core, disk(_SULCUS)) & bright
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(brain, disk(_SULCUS)))
    brain = ndimage.binary_opening(brain, disk(_SMOOTH))
    return brain if brain.sum() >= _SMALLEST and _solidity(brain) >= _SOLIDITY else None


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, labels, range(1, count + 1))
    return labels == 1 + int(np.argmax(sizes)) if count else mask


def _solidity(mask: np.ndarray) -> float:
    return float(regionprops(mask.astype(np.uint8))[0].solidity)
