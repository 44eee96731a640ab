"""The atlas that every scan is brought to: MNI152 T1-weighted brain and brain mask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import SimpleITK as sitk

from conddiffusion_uad.io.resources import resources

TEMPLATE = "mni152_t1_brain_2mm.nii.gz"
MASK = "mni152_brain_mask_2mm.nii.gz"


@dataclass(frozen=True, eq=False)
class Atlas:
    """A brain template in MNI152 world coordinates, axes along L, P, S.

    Attributes:
        t1: T1-weighted brain, float32, 0 outside the brain.
        mask: Its brain mask, uint8 0 or 1, on the same grid.
    """

    t1: sitk.Image
    mask: sitk.Image


@cache
def load() -> Atlas:
    """Return the shipped atlas. Treat its images as read-only: they are shared."""
    where = resources() / "Atlas"
    t1 = sitk.ReadImage(str(where / TEMPLATE), sitk.sitkFloat32)
    mask = sitk.ReadImage(str(where / MASK), sitk.sitkUInt8)
    return Atlas(t1=t1, mask=mask)
