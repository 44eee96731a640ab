"""Find the brain: strip the skull with deepbet, or recognize a scan whose skull is already gone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing.background import Leveled, level
from conddiffusion_uad.preprocessing.stripped import LOOK_MM, SMOOTH_PIXELS, foreground, is_stripped, outline
from conddiffusion_uad.protocol.events import Progress
from conddiffusion_uad.protocol.failures import BadInput

DEEPBET = "deepbet"
ALREADY_STRIPPED = "already stripped"
SKULL_MM = 6.0  # scalp and skull together are thicker, everywhere in an axial slice
SLAB_MM = 4.0  # of a head in which one outline serves all slices; thicker slices have one each
SCALP = 0.3  # share of the intensities in a slice's brain mask above which a pixel belongs to the head
LEAST_INSIDE = 0.7  # share of a slice's brain mask that must lie in the head for the head's outline to be believed
SOLID_MM = 4.0  # voxel size at which a brain mask must still be there: scattered voxels are no brain
LEAST_ML = 50.0  # a smaller brain mask is a failure, not a brain


@dataclass(frozen=True)
class BrainMask:
    """The brain of a scan.

    Attributes:
        mask: uint8, 0 or 1, without holes, on the scan's grid.
        method: `DEEPBET` or `ALREADY_STRIPPED`.
    """

    mask: sitk.Image
    method: str


def brain_mask(scan: sitk.Image | Leveled, mode: str, device: Any, progress: Progress) -> BrainMask:
    """Find the brain in a scan.

    Args:
        scan: float32, axes near L, P, S; leveled already or not.
        mode: "auto" (look whether the skull is there), "on" (it is: strip it) or "off" (it is not: the foreground
            is the brain).
        device: torch device, or its name, for deepbet.
        progress: Receives `advance`, which may raise Cancelled.

    Raises:
        BadInput: no_brain when nothing like a brain is found.
    """
    leveled = scan if isinstance(scan, Leveled) else level(scan)
    already = mode == "off" or (mode == "auto" and is_stripped(leveled))
    progress.advance(0.1)
    mask = foreground(leveled) if already else below_skull(_deepbet(leveled.image, device), leveled.image)
    if _solid_ml(mask) < LEAST_ML:
        hint = "Check the scan; --skull on or --skull off may help."
        raise BadInput("no_brain", "No brain was found in this scan.", hint)
    return BrainMask(mask=mask, method=ALREADY_STRIPPED if already else DEEPBET)


def _deepbet(image: sitk.Image, device: Any) -> sitk.Image:
    """Return deepbet's brain mask, uint8."""
    from conddiffusion_uad.preprocessing import skull_networks

    return Grid.of(image).with_array(skull_networks.mask(image, skull_networks.load(str(device))))


def load(device: Any) -> None:
    """Load the networks of deepbet onto a device, for the next scan. Raises what importing them raises."""
    from conddiffusion_uad.preprocessing import skull_networks

    skull_networks.load(str(device))


def below_skull(mask: sitk.Image, image: sitk.Image) -> sitk.Image:
    """Return a brain mask without what lies less than SKULL_MM below the head's surface, nor in empty slices.

    In the last slices of a stack that ends below the top of the head, deepbet reaches into the scalp and beyond. The
    head is looked at in steps of LOOK_MM, in slabs of SLAB_MM: its outline is smooth.
    """
    kept = sitk.GetArrayFromImage(mask)
    values = sitk.GetArrayViewFromImage(image)
    width, height, thickness = image.GetSpacing()
    steps = ((LOOK_MM, width), (LOOK_MM, height), (SLAB_MM, thickness))
    across, down, up = (max(1, int(step / size + 0.01)) for step, size in steps)
    radii = math.ceil(SMOOTH_PIXELS / across), math.ceil(SMOOTH_PIXELS / down)
    deep = SKULL_MM - (across - 1) * width / 2  # depth counts from the middle of the outermost pixels
    for slab, part in ((kept[z : z + up], values[z : z + up, ::down, ::across]) for z in range(0, len(kept), up)):
        own = slab[:, ::down, ::across] > 0
        slab[2 * (own & (part > 0)).sum(axis=(1, 2)) < own.sum(axis=(1, 2))] = 0  # empty, whatever its neighbors show
        brain, seen = slab[:, ::down, ::across].any(axis=0), part.mean(axis=0)
        typical = float(np.median(seen[brain])) if brain.any() else 0.0
        if typical <= 0:
            slab[:] = 0
            continue
        bright = sitk.GetImageFromArray((seen > SCALP * typical).astype(np.uint8))
        bright.SetSpacing((width * across, height * down))
        head, depth = outline(bright, radii)
        if np.mean(head[brain]) >= LEAST_INSIDE:
            shallow = np.repeat(np.repeat(~head | (depth < deep), down, axis=0), across, axis=1)
            slab[:, shallow[: kept.shape[1], : kept.shape[2]]] = 0
    result = sitk.GetImageFromArray(kept)
    result.CopyInformation(mask)
    return _largest(result)


def _largest(mask: sitk.Image) -> sitk.Image:
    """Return the largest connected part of a mask."""
    return sitk.RelabelComponent(sitk.ConnectedComponent(mask), sortByObjectSize=True) == 1


def _solid_ml(mask: sitk.Image) -> float:
    """Return the volume of the mask's blocks of SOLID_MM that are full at least by half, ml."""
    factors = [max(1, round(SOLID_MM / s)) for s in mask.GetSpacing()]
    share = sitk.BinShrink(sitk.Cast(mask, sitk.sitkFloat32), factors)
    return float(np.count_nonzero(sitk.GetArrayViewFromImage(share) >= 0.5) * np.prod(share.GetSpacing()) / 1000.0)
