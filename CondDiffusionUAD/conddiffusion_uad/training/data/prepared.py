"""Healthy training data on the bundle's grid: one file in, one item out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from skimage.filters import threshold_multiotsu

from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.geometry import is_thin
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas as atlases
from conddiffusion_uad.preprocessing.preparation import Prepared, prepare
from conddiffusion_uad.preprocessing.registration import Registered, register
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data.anatomy import (
    INTENSITIES,
    TISSUES,
    brain_of,
    read_labels,
    tissue_fractions,
    tissue_labels,
)
from conddiffusion_uad.training.data.crop import crop_to
from conddiffusion_uad.training.data.source import Source

# Correlation of a scan with the T1-weighted atlas inside the brain. Over the development data: T1 0.56 to 0.61,
# FLAIR 0.22 to 0.43 (its fluid is dark, too), T2 -0.71 to -0.38. T1 and FLAIR are not told apart by it.
CLEAR = 0.1
_MARGIN_VOXELS = 8  # around the labeled tissue of a label map, so that smoothing does not meet its edge


@dataclass(frozen=True)
class Anatomy:
    """A label map on the bundle's grid.

    Attributes:
        name: Of its file.
        fractions: uint8 (tissues + 1, z, y, x), see :func:`tissue_fractions`.
        subject: Who is shown.
    """

    name: str
    fractions: np.ndarray
    subject: str = ""


@dataclass(frozen=True)
class Scan:
    """A healthy scan, normalized on the bundle's grid.

    Attributes:
        name: Of its file.
        contrast: "T1", "T2" or "FLAIR".
        volume: float16 (z, y, x) in [0, 1]; of a thin volume only the slices that it covers.
        mask: Brain, boolean, same shape.
        tissues: Median intensity of fluid, gray and white matter; None when they cannot be told from the intensity.
        subject: Who is shown.
        first: Position of the first slice along z on the bundle's grid.
        thin: Whether it covers too little of a brain to stand for one.
    """

    name: str
    contrast: str
    volume: np.ndarray
    mask: np.ndarray
    tissues: tuple[float, float, float] | None = None
    subject: str = ""
    first: int = 0
    thin: bool = False


def load(file: Path, source: Source, grid: Grid) -> Anatomy | Scan:
    """Read and prepare a file.

    Raises:
        BadInput: What :func:`volumes.read` and :func:`prepare` raise, ``not_a_brain`` when it does not fit the atlas
            or shows nothing of the grid, or ``wrong_contrast``.
    """
    return load_labels(file, grid) if source.kind == "labels" else load_scan(file, source, grid)


def load_labels(file: Path, grid: Grid) -> Anatomy:
    """A label map as tissue fractions on the grid. Raises BadInput("not_a_brain")."""
    labels = _cropped(sitk.DICOMOrient(read_labels(file), "LPS"))
    classes = tissue_labels(labels)
    brain = brain_of(classes, labels.GetSpacing()[::-1])
    # A noiseless T1-like picture of the labels is enough to register them.
    means = [0.0] + [sum(INTENSITIES["T1"][name]) / 2 for name in TISSUES]
    picture = sitk.GetImageFromArray(np.asarray(means, np.float32)[classes] * brain)
    mask = sitk.GetImageFromArray(brain.astype(np.uint8))
    for image in (picture, mask):
        image.CopyInformation(labels)
    registered = register(picture, mask, atlases.load(), Quiet())
    _check_place(registered)
    fractions = tissue_fractions(labels, registered.to_atlas, grid)
    _check_shown(fractions[-1] > 127)
    return Anatomy(file.name, fractions)


def _cropped(labels: sitk.Image) -> sitk.Image:
    """The box around the labeled tissue, a margin wider where there is room."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    tissue = sitk.GetImageFromArray((tissue_labels(labels) > 0).astype(np.uint8))
    shape.Execute(tissue)
    start, size = np.array(shape.GetBoundingBox(1)).reshape(2, 3)
    low, high = np.maximum(start - _MARGIN_VOXELS, 0), np.minimum(start + size + _MARGIN_VOXELS, labels.GetSize())
    return sitk.RegionOfInterest(labels, (high - low).tolist(), low.tolist())


def load_scan(file: Path, source: Source, grid: Grid) -> Scan:
    """A scan as a detection prepares it, cut to the grid. Raises BadInput."""
    image = volumes.read(file, thin=True)
    prepared = prepare(image, grid=grid, atlas=atlases.load(), progress=Quiet())
    _check_place(prepared.registration)
    volume, mask = (crop_to(array, prepared.grid, grid) for array in (prepared.volume, prepared.mask))
    _check_shown(mask)
    volume = volume.astype(np.float16)
    if is_thin(image):
        shown = np.flatnonzero(mask.any(axis=(1, 2)))
        covered = slice(int(shown[0]), int(shown[-1]) + 1)
        return Scan(file.name, source.contrast, volume[covered], mask[covered], first=covered.start, thin=True)
    _check_contrast(prepared, source.contrast)
    tissues = _tissue_medians(volume[mask]) if source.contrast == "T1" else None
    return Scan(file.name, source.contrast, volume, mask, tissues)


def _check_place(registered: Registered) -> None:
    """Raise BadInput("not_a_brain") when what is shown does not fit the atlas."""
    if not registered.ok:
        raise BadInput("not_a_brain", "It does not fit the atlas of the brain.", "Look at the scan.")


def _check_shown(mask: np.ndarray) -> None:
    """Raise BadInput("not_a_brain") when nothing of the brain lies on the bundle's grid."""
    if not mask.any():
        raise BadInput("not_a_brain", "Nothing of it lies on the grid of the recipe.", "Look at where it is.")


def _check_contrast(prepared: Prepared, contrast: str) -> None:
    """Raise BadInput("wrong_contrast") when fluid is clearly dark in a T2 scan, or bright in another."""
    like = correlation_with_t1(prepared)
    if like * (-1 if contrast == "T2" else 1) < -CLEAR:
        seems = "T1- or FLAIR" if contrast == "T2" else "T2"
        raise BadInput("wrong_contrast", f"It looks {seems}-weighted, not {contrast}-weighted.", "Check the source.")


def correlation_with_t1(prepared: Prepared) -> float:
    """Correlation coefficient of a scan with the T1-weighted atlas inside both brains."""
    t1 = atlases.load().t1
    picture = sitk.GetArrayFromImage(sitk.Resample(t1, prepared.grid.blank(), sitk.Transform(), sitk.sitkLinear, 0.0))
    both = prepared.mask & (picture > 0)
    return float(np.corrcoef(picture[both], prepared.volume[both])[0, 1])


def _tissue_medians(brain: np.ndarray) -> tuple[float, float, float] | None:
    """Median intensity of the dark, middle and bright voxels, (voxels,); None when there are not three kinds."""
    brain = brain.astype(np.float32)
    if len(np.unique(brain)) < 3:
        return None
    classes = np.digitize(brain, threshold_multiotsu(brain, classes=3))
    low, middle, high = (float(np.median(brain[classes == index])) for index in range(3))
    return low, middle, high
