"""A second, simpler generator of lesions, to judge a map with that was trained on the first one.

It shares nothing with the first one: lesions are worms, thick lines along random walks, with a profile that falls from
the middle to the edge, and their brightness is told in standard deviations of the tissue around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

EDGE = 0.8
"""Share of the radius inside which a voxel counts as lesion: the profile fades beyond."""

SMALL_ML, LARGE_ML = (0.03, 1.5), (8.0, 50.0)
"""Between which volumes lesions are as those of multiple sclerosis, or as large ones. What counts of them is less."""

_CONTRAST = (1.5, 4.5)  # change, in standard deviations of solid tissue
_BESIDE_FLUID_MM = 6.0  # MS-like lesions lie as near to the ventricles, in half of the cases


@dataclass(frozen=True)
class Implanted:
    """A scan with lesions: intensities (z, y, x), and each lesion's number there, 0 for none."""

    image: np.ndarray
    lesions: np.ndarray


def implant(
    image: np.ndarray,
    solid: np.ndarray,
    spacing: tuple[float, float, float],
    sign: int,
    sizes: Sequence[tuple[float, float]],
    seed: int,
    apart_mm: float = 0.0,
) -> Implanted:
    """Put lesions into a healthy scan before it is normalized.

    Args:
        image: Intensities (z, y, x).
        solid: Gray and white matter, boolean, same shape.
        spacing: Of the voxels along z, y, x, mm.
        sign: +1 where lesions are bright, -1 where they are dark.
        sizes: For each lesion, numbered from 1, between which volumes it is, ml. One of no more than 1.5 ml lies
            beside the deep fluid in half of the cases.
        seed: Of all randomness.
        apart_mm: What is at least between a lesion and where the next one begins.
    """
    rng = np.random.default_rng(seed)
    changed, numbers = image.astype(np.float32).copy(), np.zeros(image.shape, np.int32)
    deviation = float(np.std(ndimage.gaussian_filter(image, 1.0)[solid]))
    inner = ndimage.distance_transform_edt(solid, spacing)
    near = _near_deep_fluid(solid, spacing)
    for number, limits in enumerate(sizes, start=1):
        volume = float(np.exp(rng.uniform(*np.log(limits))))
        wanted = near if limits[1] <= SMALL_ML[1] and rng.random() < 0.5 else solid
        start = _start(inner, wanted & _free(numbers, spacing, apart_mm), rng)
        distance = _worm(start, volume, image.shape, spacing, rng)
        inside = (distance < 1) & solid
        profile = np.where(inside, 1 - distance**2, 0)
        strength = sign * rng.uniform(*_CONTRAST) * deviation
        grain = ndimage.gaussian_filter(rng.standard_normal(image.shape[-2:]), 1.5)[None]
        changed += (strength * np.sqrt(profile) * (1 + 0.4 * grain)).astype(np.float32)
        numbers[(distance < EDGE) & solid] = number
    return Implanted(np.clip(changed, 0, None), numbers)


def _free(numbers: np.ndarray, spacing: tuple[float, float, float], apart_mm: float) -> np.ndarray | bool:
    """Where the next lesion may begin."""
    if not (apart_mm and numbers.any()):
        return True
    return ndimage.distance_transform_edt(numbers == 0, spacing) >= apart_mm


def _near_deep_fluid(solid: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Solid tissue beside the fluid in the middle of the brain."""
    whole = ndimage.binary_fill_holes(solid)
    holes = whole & ~solid & (ndimage.distance_transform_edt(whole, spacing) > 15)
    if not holes.any():
        return solid
    return solid & (ndimage.distance_transform_edt(~holes, spacing) < _BESIDE_FLUID_MM)


def _start(inner: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A voxel of the wanted tissue, rather deep in it than at its rim."""
    places = np.argwhere(wanted & (inner > 1.5))
    places = places if len(places) else np.argwhere(inner == inner.max())
    return places[rng.integers(len(places))]


def _worm(start, volume_ml: float, shape, spacing, rng: np.random.Generator) -> np.ndarray:
    """Distance to a random walk, in units of its changing thickness; 1 is the edge. Far away it is 2."""
    steps = int(rng.integers(2, 6))
    radius = (volume_ml * 1000 / (np.pi * (steps * 0.8 + 4 / 3))) ** (1 / 3)  # a capsule of that volume
    heading, point, points, radii = rng.standard_normal(3), start * np.array(spacing), [], []
    for _ in range(4 * steps):
        heading = heading + 0.7 * rng.standard_normal(3)
        point = point + 0.25 * 0.8 * radius * heading / np.linalg.norm(heading)
        points.append(point)
        radii.append(radius * rng.uniform(0.8, 1.2))
    low = np.min(points, 0) - 1.3 * radius
    high = np.max(points, 0) + 1.3 * radius
    first = np.maximum(np.floor(low / spacing), 0).astype(int)
    last = np.minimum(np.ceil(high / spacing).astype(int) + 1, shape)
    result = np.full(shape, 2.0, np.float32)
    box = tuple(slice(a, max(a, b)) for a, b in zip(first, last, strict=True))
    grid = np.stack(
        np.meshgrid(*(np.arange(s.start, s.stop) * d for s, d in zip(box, spacing, strict=True)), indexing="ij")
    )
    for point, size in zip(points, radii, strict=True):
        distance = np.sqrt(((grid - point[:, None, None, None]) ** 2).sum(0)) / size
        result[box] = np.minimum(result[box], distance)
    return result
