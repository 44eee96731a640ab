"""Label maps as tissue fractions: what a synthetic scan is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from conddiffusion_uad.io import volume as volumes
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
# Range of the mean intensity of each tissue, by contrast; anything linear in it is normalized away later. Set by hand
# for this project: the order of the tissues in conventional sequences, wide enough for other scanners and ages.
INTENSITIES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "T1": {
        "white matter": (0.80, 0.95), "cortex": (0.48, 0.66), "ventricles": (0.08, 0.22),
        "subarachnoid fluid": (0.08, 0.26), "cerebellar white matter": (0.76, 0.95), "cerebellar cortex": (0.46, 0.66),
        "thalamus": (0.60, 0.80), "caudate": (0.52, 0.68), "putamen": (0.56, 0.72), "pallidum": (0.68, 0.88),
        "brainstem": (0.68, 0.88), "hippocampus": (0.48, 0.66), "choroid plexus": (0.20, 0.50),
    },
    "T2": {
        "white matter": (0.26, 0.40), "cortex": (0.40, 0.58), "ventricles": (0.88, 1.10),
        "subarachnoid fluid": (0.75, 1.10), "cerebellar white matter": (0.28, 0.42), "cerebellar cortex": (0.38, 0.55),
        "thalamus": (0.32, 0.48), "caudate": (0.36, 0.52), "putamen": (0.30, 0.48), "pallidum": (0.18, 0.36),
        "brainstem": (0.28, 0.44), "hippocampus": (0.42, 0.60), "choroid plexus": (0.60, 1.00),
    },
    "FLAIR": {
        "white matter": (0.48, 0.62), "cortex": (0.60, 0.80), "ventricles": (0.04, 0.18),
        "subarachnoid fluid": (0.04, 0.26), "cerebellar white matter": (0.46, 0.62), "cerebellar cortex": (0.56, 0.76),
        "thalamus": (0.52, 0.68), "caudate": (0.58, 0.74), "putamen": (0.54, 0.72), "pallidum": (0.42, 0.60),
        "brainstem": (0.46, 0.68), "hippocampus": (0.62, 0.84), "choroid plexus": (0.40, 0.85),
    },
}  # fmt: skip
FLUID = ("ventricles", "subarachnoid fluid")
_SULCUS_MM = 5.0  # sulci up to twice this wide belong to the brain mask, as skull strippers draw it


def read_labels(file: Path) -> sitk.Image:
    """Read a label map of whole numbers, int32; others are rounded. Raises BadInput when it is none."""
    return sitk.Cast(sitk.Round(volumes.read_values(file)), sitk.sitkInt32)


def tissue_labels(labels: sitk.Image) -> np.ndarray:
    """Class index of every voxel (0 outside the brain, then 1 + index in :data:`TISSUES`), uint8, axes (z, y, x)."""
    array = sitk.GetArrayFromImage(labels)
    classes = np.zeros(array.shape, np.uint8)
    for index, members in enumerate(TISSUES.values(), start=1):
        classes[np.isin(array, members)] = index
    return classes


def brain_of(classes: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """The brain as a skull stripper outlines it: solid tissue with its sulci closed.

    Args:
        classes: As of :func:`tissue_labels`, (z, y, x).
        spacing: Of the voxels along z, y and x, mm.

    Returns:
        Boolean, same shape.
    """
    fluid = [1 + list(TISSUES).index(name) for name in FLUID]
    solid = (classes > 0) & ~np.isin(classes, fluid)
    grown = ndimage.distance_transform_edt(~solid, sampling=spacing) <= _SULCUS_MM
    closed = ndimage.distance_transform_edt(grown, sampling=spacing) > _SULCUS_MM
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
    brain = brain_of(classes, labels.GetSpacing()[::-1])
    classes[brain & (classes == 0)] = 1 + list(TISSUES).index("subarachnoid fluid")
    indicators = [classes == index for index in range(1, len(TISSUES) + 1)] + [brain]
    return np.stack([_fraction(indicator, labels, to_atlas, grid) for indicator in indicators])


def _fraction(indicator: np.ndarray, like: sitk.Image, to_atlas: sitk.Transform, grid: Grid) -> np.ndarray:
    image = sitk.GetImageFromArray(indicator.astype(np.float32))
    image.CopyInformation(like)
    # A Gaussian of half the coarse spacing stands for averaging over the coarse voxel.
    image = sitk.SmoothingRecursiveGaussian(image, [0.5 * spacing for spacing in grid.spacing])
    coarse = sitk.Resample(image, grid.blank(), to_atlas, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return np.clip(np.rint(255 * sitk.GetArrayFromImage(coarse)), 0, 255).astype(np.uint8)
