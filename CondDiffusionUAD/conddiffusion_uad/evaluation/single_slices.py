"""Single slices of an archive on the grid of a bundle."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from skimage.transform import rescale

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.protocol.failures import BadInput

THICK = 3  # slices of the bundle's grid that a single slice stands for


def normalized_slice(image: np.ndarray, scale: float, grid: Grid) -> np.ndarray:
    """A slice (y, x), 0 outside the brain, brought to 0..1 and, scaled, to the size of the grid."""
    low, high = np.percentile(image[image > 0], [1, 99])
    bright = np.clip((image - low) / max(high - low, 1e-6), 1e-3, 1)
    coarse = rescale(np.where(image > 0, bright, 0), scale, order=1, anti_aliasing=True)
    inside = rescale((image > 0).astype(np.float32), scale, order=1, anti_aliasing=True) > 0.5
    return fit_to(np.where(inside, coarse, 0), grid)


def fit_to(image: np.ndarray, grid: Grid) -> np.ndarray:
    """Crop or pad a slice (y, x) about its center to the size of the grid."""
    for axis in range(2):
        wanted = grid.size[1 - axis]
        surplus = image.shape[axis] - wanted
        if surplus > 0:
            image = np.take(image, np.arange(surplus // 2, surplus // 2 + wanted), axis)
        else:
            padding = [(0, 0), (0, 0)]
            padding[axis] = (-surplus // 2, -surplus - -surplus // 2)
            image = np.pad(image, padding)
    return image


def check(file: Path) -> None:
    """Raise BadInput unless a file is an archive of slices that show something."""
    try:
        with np.load(file) as archive:
            images = np.asarray(archive["image"], np.float32)
            ranked = len(archive["bright"]) if "bright" in archive else len(images)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise BadInput("bad_slices", "It is no .npz archive with an array `image` of numbers.") from error
    if images.ndim != 3 or ranked != len(images):
        raise BadInput("bad_slices", "Its `image` is not (slices, y, x), or `bright` has another length.")
    if not np.isfinite(images).all():
        raise BadInput("not_finite", "It has pixels that are not numbers (NaN or infinite).")
    if empty := [str(index) for index, image in enumerate(images) if not (image > 0).any()]:
        raise BadInput("bad_slices", f"Nothing is shown in slices {', '.join(empty[:10])}.")
