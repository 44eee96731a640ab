"""Synthetic lesions of known size and contrast in a healthy scan, on its own grid: which dose a method needs to see.

Their outlines are the irregular blobs that trainings use, of one lobe, grown until the volume is that of a ball of
their diameter. In the scan's signal (its darkest voxel 0, the brain's 99th percentile 1) a lesion adds its contrast:
dark on T1, bright on T2 and FLAIR, as most lesions are. It lies in tissue of usual brightness, a voxel that it fills in
part gets a part of it, and its truth are the voxels that it fills at least half as much as its fullest one.

A scan is changed in some rounds. Each round has a lesion of every size, in the same places as the other rounds, with
another contrast each (a Latin square), so that after all of them every size has had every contrast. Places depend on
the scan and the seed alone: they are the same for every method and bundle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing.orientation import orient
from conddiffusion_uad.training.data.lattice import Lattice
from conddiffusion_uad.training.synthetic_anomalies.shape import Blob

IMPLANTED = "implanted lesions"
"""What a trial calls this change; its severity is the round, from 1."""

DIAMETERS_MM = (5.0, 8.0, 13.0, 20.0)
CONTRASTS = (0.1, 0.2, 0.3, 0.45)  # of a lesion, as a share of the brain's 99th percentile above the darkest voxel
ROUNDS = len(CONTRASTS)

_SIGNS = {"T1": -1, "T2": 1, "FLAIR": 1}
_USUAL = (25, 75)  # percentiles of brightness between which a lesion's center lies
_APART_MM = 10.0  # between two lesions
_FINEST_MM = 1.0  # of the points that a voxel's share is taken from
_GROWN, _HALVINGS = (0.3, 3.0), 12  # between which factors the right size of a blob is looked for, and how long
_STRETCH = 0.2  # largest logarithm of a radius over the mean one


@dataclass(frozen=True)
class Lesion:
    """A lesion in a scan.

    Attributes:
        diameter_mm: Of a ball of its volume.
        contrast: One of :data:`CONTRASTS`.
        where: Its truth on the scan's own grid, boolean (z, y, x).
    """

    diameter_mm: float
    contrast: float
    where: np.ndarray


def implant(
    scan: sitk.Image, brain: sitk.Image, contrast: str, number: int, seed: int = 0
) -> tuple[sitk.Image, list[Lesion]]:
    """Put lesions into a healthy scan.

    Args:
        scan: float32, 3-D, any orientation.
        brain: Its brain mask on the same grid, not empty.
        number: Of the round, from 1 to :data:`ROUNDS`.

    Returns:
        float32 image on the same grid, and the lesions for which there was a place, the largest first.
    """
    oriented = orient(scan)
    grid = Grid.of(oriented.image)
    values = sitk.GetArrayFromImage(oriented.image)
    mask = sitk.GetArrayFromImage(orient(brain).image) > 0
    black, white = float(values.min()), float(np.percentile(values[mask], 99))
    random = np.random.default_rng(seed)
    lesions = []
    for place, center in _centers(values, mask, grid.spacing[::-1], random):
        share = _share(center, DIAMETERS_MM[place] / 2, mask.shape, grid.spacing[::-1], random) * mask
        strength = CONTRASTS[(place + number - 1) % ROUNDS]
        values = np.maximum(values + _SIGNS[contrast] * strength * (white - black) * share, black)
        where = oriented.undo(grid.with_array((share >= max(share.max() / 2, 1e-6)).astype(np.uint8)))
        lesions.append(Lesion(DIAMETERS_MM[place], strength, sitk.GetArrayFromImage(where) > 0))
    return oriented.undo(grid.with_array(values.astype(np.float32))), lesions


def _centers(
    values: np.ndarray, mask: np.ndarray, spacing: tuple[float, ...], random: np.random.Generator
) -> list[tuple[int, np.ndarray]]:
    """Positions in :data:`DIAMETERS_MM`, the largest first, with a center (z, y, x) in mm from the first voxel each.

    At a center, the brain is at least as deep as the lesion, and so is the scan. One that fits nowhere is left out.
    """
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    low, high = np.percentile(values[mask], _USUAL)
    usual = mask & (values >= low) & (values <= high)
    found: list[tuple[int, np.ndarray]] = []
    for place in reversed(range(len(DIAMETERS_MM))):
        radius = DIAMETERS_MM[place] / 2
        candidates = np.argwhere(usual & (depth >= radius)) * np.array(spacing)
        for other, center in found:
            apart = radius + DIAMETERS_MM[other] / 2 + _APART_MM
            candidates = candidates[np.linalg.norm(candidates - center, axis=1) >= apart]
        chosen = random.random()  # drawn in any case, so that one that fits nowhere does not move the next
        if len(candidates):
            found.append((place, candidates[int(chosen * len(candidates))]))
    return found


def _share(
    center: np.ndarray, radius: float, shape: tuple[int, ...], spacing: tuple[float, ...], random: np.random.Generator
) -> np.ndarray:
    """How much of each voxel a random blob fills, 0 to 1, float32 (z, y, x)."""
    blob = replace(Blob.draw(center, radius, random, _STRETCH), lobes=(np.zeros((1, 3)), np.ones(1)))
    share = np.zeros(shape, np.float32)
    reach = 3 * radius + max(spacing)
    box, axes, counts = [], [], []
    for middle, extent, step in zip(center, shape, spacing, strict=True):
        low, high = max(int((middle - reach) / step), 0), min(int((middle + reach) / step) + 2, extent)
        count = max(round(step / _FINEST_MM), 1)
        points = (np.arange(low * count, high * count) + 0.5) * step / count - step / 2
        box.append(slice(low, high))
        axes.append(torch.from_numpy(points.astype(np.float32)))
        counts.append((high - low, count))
    fine = _of_volume(
        blob, Lattice(*axes), float(np.prod([step / n for step, (_, n) in zip(spacing, counts, strict=True)]))
    )
    (z, fz), (y, fy), (x, fx) = counts
    share[tuple(box)] = fine.view(z, fz, y, fy, x, fx).mean(dim=(1, 3, 5)).numpy()
    return share


def _of_volume(blob: Blob, lattice: Lattice, point_mm3: float) -> torch.Tensor:
    """How much of a blob is at each point of a lattice, (Z, Y, X), grown so that it has the volume of a ball."""
    wanted = 4 / 3 * np.pi * blob.radius**3
    low, high = _GROWN
    for _ in range(_HALVINGS):
        grown = (low + high) / 2
        share = torch.zeros(lattice.shape)
        if (there := blob.on(lattice, grown)) is not None:
            share[there[0]] = there[1]
        low, high = (grown, high) if float(share.sum()) * point_mm3 < wanted else (low, grown)
    return share
