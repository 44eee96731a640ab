"""Label maps as tissue fractions: what a synthetic scan is made from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from conddiffusion_uad.io.volume import Grid

# Tissue classes and the FreeSurfer labels that belong to each. Labels 25 and 57 mark white-matter lesions and become
# healthy white matter; 136, 137, 163 and 164 lie inside the lateral ventricles and are choroid plexus. Labels that are
# not listed (skull, skin, eyes) are outside the brain.
TISSUES: Mapping[str, tuple[int, ...]] = {
    "white matter": (2, 41, 25, 57, 77, 85, 251, 252, 253, 254, 255),
    "cortex": (3, 42),
    "ventricles": (4, 5, 14, 15, 43, 44, 72),
    "subarachnoid fluid": (24,),
    "cerebellar white matter": (7, 46),
    "cerebellar cortex": (8, 47),
    "thalamus": (10, 49),
    "caudate": (11, 50, 26, 58),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "brainstem": (16, 28, 60),
    "hippocampus": (17, 18, 53, 54),
    "choroid plexus": (30, 31, 62, 63, 136, 137, 163, 164),
}
FLUID = ("ventricles", "subarachnoid fluid")
_SULCUS_MM = 5.0  # sulci up to twice this wide belong to the brain mask, as skull strippers draw it


def tissue_labels(labels: sitk.Image) -> np.ndarray:
    """Class index of every voxel (0 outside the brain, then 1 + index in :data:`TISSUES`), uint8, axes (z, y, x)."""
    array = sitk.GetArrayFromImage(labels)
    classes = np.zeros(array.shape, np.uint8)
    for index, members in enumerate(TISSUES.values(), start=1):
        classes[np.isin(array, members)] = index
    return classes


def brain_of(classes: np.ndarray, spacing_mm: float) -> np.ndarray:
    """The brain as a skull stripper outlines it: solid tissue with its sulci closed, boolean, same shape."""
    fluid = [1 + list(TISSUES).index(name) for name in FLUID]
    solid = (classes > 0) & ~np.isin(classes, fluid)
    radius = _SULCUS_MM / spacing_mm
    grown = ndimage.distance_transform_edt(~solid) <= radius
    closed = ndimage.distance_transform_edt(grown) > radius
    return ndimage.binary_fill_holes(closed | solid)


def tissue_fractions(labels: sitk.Image, to_atlas: sitk.Transform, grid: Grid) -> np.ndarray:
    """Partial volumes of each tissue and of the brain on a coarser grid.

    Args:
        labels: FreeSurfer label map of a healthy head, about 1 mm.
        to_atlas: Maps points of the atlas to points of the label map.
        grid: Where the fractions are wanted.

    Returns:
        uint8 array (tissues + 1, z, y, x); 255 is a whole voxel. The last channel is the brain. What the brain holds
        beside labeled tissue (sulci of label maps without fluid) counts as subarachnoid fluid.
    """
    classes = tissue_labels(labels)
    brain = brain_of(classes, labels.GetSpacing()[0])
    classes[brain & (classes == 0)] = 1 + list(TISSUES).index("subarachnoid fluid")
    indicators = [classes == index for index in range(1, len(TISSUES) + 1)] + [brain]
    return np.stack([_fraction(indicator, labels, to_atlas, grid) for indicator in indicators])


def _fraction(indicator: np.ndarray, like: sitk.Image, to_atlas: sitk.Transform, grid: Grid) -> np.ndarray:
    image = sitk.GetImageFromArray(indicator.astype(np.float32))
    image.CopyInformation(like)
    # A Gaussian of half the coarse spacing stands for averaging over the coarse voxel.
    image = sitk.SmoothingRecursiveGaussian(image, 0.5 * grid.spacing[0])
    coarse = sitk.Resample(image, grid.blank(), to_atlas, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return np.clip(np.rint(255 * sitk.GetArrayFromImage(coarse)), 0, 255).astype(np.uint8)
