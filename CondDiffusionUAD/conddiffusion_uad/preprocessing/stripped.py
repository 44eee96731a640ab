"""Is the skull already gone? Going inward, a head is bright, dark at the skull, and bright; a bare brain is not."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from conddiffusion_uad.preprocessing.background import Leveled, level, sides
from conddiffusion_uad.preprocessing.itk_threads import itk_threads

LOOK_MM = 2.0  # voxel size at which to look; thick slices stay as they are
APART_MM = 4.0  # distance of the slices that are looked at; thick slices are all looked at
FLAT = 0.005  # share of the bright intensities by which a background of one value may ring
NOISY = 6.0  # standard deviations of the background within which nearly all of it lies, whatever the noise
MOST_NOISY = 0.015  # share of the bright intensities by which the background of a bare brain may vary at most
LEAST_FLAT = 0.9  # share of the volume's sides that must hold that value
MOST_ML = 2300.0  # the largest brains, with cerebellum and brain stem, have about 2000 ml
FAINT = 0.2  # share of the typical intensity below which a voxel is outside the head
SMOOTH_PIXELS = 3  # radius by which a slice's outline is closed and opened
LEAST_AREA_MM2 = 3000.0  # a smaller slice is the very top of a head, where inward means little
SECTORS = 12  # around the head
SLAB_MM = 20.0  # thickness of the slabs into which the head is cut
LAYERS = 13  # of LOOK_MM each, inward from the surface: scalp, skull and brain follow each other within these
LEAST_LAYERS = 10
LEAST_VOXELS = 8  # for the median of a layer
DARK = 0.75  # a layer below this share of what lies further out and of what lies further in is skull
MOST_DARK = 0.25  # share of all directions in which a bare brain may look as if there were skull
COMPANION = 0.05  # share of the largest part's volume from which another part is brain, too


def is_stripped(scan: sitk.Image | Leveled) -> bool:
    """Whether a scan (float32, axes near L, P, S) shows a brain without its skull.

    It does when the background is one value, what stands out of it is not larger than a brain, and there are few
    directions in which one meets a dark layer between two bright ones on the way in.
    """
    leveled = _leveled(scan)
    if flatness(leveled) < LEAST_FLAT:
        return False
    shown = below_surface(leveled)
    return shown.volume_ml <= MOST_ML and shown.dark_directions() <= MOST_DARK


def flatness(leveled: Leveled) -> float:
    """Return the share (0..1) of the volume's left, right, front and back sides that holds the background value."""
    values = sides(sitk.GetArrayViewFromImage(leveled.image))
    return float(np.mean(np.abs(values) < _tolerance(leveled)))


def foreground(scan: sitk.Image | Leveled) -> sitk.Image:
    """Return what stands out of the background, uint8: its large connected parts, without holes."""
    leveled = _leveled(scan)
    found = (np.abs(sitk.GetArrayViewFromImage(leveled.image)) > _tolerance(leveled)).astype(np.uint8)
    for box in ndimage.find_objects(found):
        labeled = sitk.ConnectedComponent(sitk.GetImageFromArray(found[box]))
        parts = sitk.RelabelComponent(labeled, sortByObjectSize=True)
        sizes = np.bincount(sitk.GetArrayViewFromImage(parts).ravel())[1:]
        kept = int(np.count_nonzero(sizes >= COMPANION * sizes.max()))
        found[box] = sitk.GetArrayFromImage(sitk.BinaryFillhole((parts >= 1) & (parts <= kept)))
    result = sitk.GetImageFromArray(found)
    result.CopyInformation(leveled.image)
    return result


def _leveled(scan: sitk.Image | Leveled) -> Leveled:
    return scan if isinstance(scan, Leveled) else level(scan)


@dataclass(frozen=True)
class BelowSurface:
    """The voxels of a head or a brain, at about 2 mm, in some of its axial slices; one array entry each.

    Attributes:
        depth: Distance below the surface within the axial slice, mm.
        intensity: Above the background.
        direction: Number of the slab and sector that the voxel lies in.
        volume_ml: Volume of the head or brain.
    """

    depth: np.ndarray
    intensity: np.ndarray
    direction: np.ndarray
    volume_ml: float

    def dark_directions(self) -> float:
        """Return the share (0..1) of directions with a dark layer between two bright ones; 0 if none can be judged."""
        layer = (self.depth / LOOK_MM).astype(int)
        shallow = layer < LAYERS
        direction, layer, intensity = (values[shallow] for values in (self.direction, layer, self.intensity))
        place = direction.astype(int) * LAYERS + layer
        order = np.argsort(place, kind="stable")
        found, starts = np.unique(place[order], return_index=True)
        dips = []
        parts = np.split(intensity[order], starts[1:])
        for _, layers in groupby(zip(found, parts, strict=True), key=lambda entry: entry[0] // LAYERS):
            profile = np.array([np.median(part) for _, part in layers if part.size >= LEAST_VOXELS])
            if profile.size >= LEAST_LAYERS:
                dips.append(_dip(profile))
        return float(np.mean(np.array(dips) < DARK)) if dips else 0.0


def below_surface(leveled: Leveled) -> BelowSurface:
    """Return the voxels of the largest part in axial slices of a scan (axes near L, P, S)."""
    image, bright = leveled.image, leveled.bright
    small = sitk.BinShrink(image, [max(1, int(LOOK_MM / s + 0.01)) for s in image.GetSpacing()])
    values = sitk.GetArrayViewFromImage(small)
    typical = float(np.median(values[values > bright / 10])) if bool((values > bright / 10).any()) else bright
    width, height, thickness = small.GetSpacing()
    found = [np.zeros((3, 0))]
    every = max(1, int(APART_MM / thickness + 0.01))
    for z in range(0, values.shape[0], every):
        inside, depth = outline(small[:, :, z] > FAINT * typical)
        rows, columns = np.nonzero(inside)
        if rows.size * width * height >= LEAST_AREA_MM2:
            angle = np.arctan2((rows - rows.mean()) * height, (columns - columns.mean()) * width)
            sector = np.clip((angle + np.pi) / (2 * np.pi) * SECTORS, 0, SECTORS - 1).astype(int)
            found.append(np.stack([depth[inside], values[z][inside], sector + SECTORS * int(z * thickness / SLAB_MM)]))
    depth, intensity, direction = np.concatenate(found, axis=1)
    volume_ml = depth.size * width * height * thickness * every / 1000.0
    return BelowSurface(depth=depth, intensity=intensity, direction=direction, volume_ml=volume_ml)


def outline(bright: sitk.Image, radii: tuple[int, int] = (SMOOTH_PIXELS,) * 2) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest solid part of a 2D mask (bool) and each of its pixels' distance below its surface, mm.

    Args:
        bright: The mask.
        radii: By which it is closed and opened along x and y, pixels.
    """
    shown = sitk.GetArrayViewFromImage(bright)
    inside, depth = np.zeros(shown.shape, bool), np.zeros(shown.shape, np.float32)
    for box in ndimage.find_objects(shown):  # there is one, unless nothing is bright; beyond it nothing changes
        sides = zip(box, radii[::-1], strict=True)
        room = tuple(slice(max(side.start - radius - 1, 0), side.stop + radius + 1) for side, radius in sides)
        inside[room], depth[room] = _outline(bright[room[::-1]], radii)
    return inside, depth


def _outline(bright: sitk.Image, radii: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    with itk_threads(1):
        filled = sitk.BinaryFillhole(sitk.BinaryMorphologicalClosing(bright, radii))
        solid = sitk.BinaryMorphologicalOpening(filled, radii)
        largest = sitk.RelabelComponent(sitk.ConnectedComponent(solid), sortByObjectSize=True) == 1
        depth = sitk.SignedMaurerDistanceMap(
            largest, insideIsPositive=True, squaredDistance=False, useImageSpacing=True
        )
    return sitk.GetArrayFromImage(largest) > 0, sitk.GetArrayFromImage(depth)


def _dip(profile: np.ndarray) -> float:
    """Return the least ratio of a layer to the darker one of the brightest before and the brightest after it."""
    ratios = [
        profile[k] / max(min(profile[:k].max(), profile[k + 1 :].max()), 1e-6) for k in range(1, profile.size - 1)
    ]
    return float(min(ratios))


def _tolerance(leveled: Leveled) -> float:
    """Return how far from 0 the background of a bare brain may lie."""
    bright = leveled.bright
    return float(np.clip(NOISY * leveled.spread, FLAT * bright, MOST_NOISY * bright))
