"""Healthy training data on the bundle's grid: one file in, one item out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from skimage.filters import threshold_multiotsu
from skimage.transform import rescale

from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.lattice import part
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas as atlases
from conddiffusion_uad.preprocessing.preparation import Prepared, prepare
from conddiffusion_uad.preprocessing.registration import register
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data.anatomy import TISSUES, brain_of, tissue_fractions, tissue_labels
from conddiffusion_uad.training.data.slice_outline import outline
from conddiffusion_uad.training.data.synthesis import INTENSITIES
from conddiffusion_uad.training.recipe import Source

# Correlation of a scan with the T1-weighted atlas inside the brain. Over the development data: T1 0.56 to 0.61,
# FLAIR 0.22 to 0.43 (its fluid is dark, too), T2 -0.71 to -0.38. T1 and FLAIR are not told apart by it.
CLEAR = 0.1


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
    """A healthy scan, or a stack of single slices, normalized on the bundle's grid.

    Attributes:
        name: Of its file.
        contrast: "T1", "T2" or "FLAIR".
        volume: float16 (z, y, x) in [0, 1].
        mask: Brain, boolean, same shape.
        tissues: Median intensity of fluid, gray and white matter; None when they cannot be told from the intensity.
        subject: Who is shown.
        positions: Of single slices, in their archive.
    """

    name: str
    contrast: str
    volume: np.ndarray
    mask: np.ndarray
    tissues: tuple[float, float, float] | None
    subject: str = ""
    positions: tuple[int, ...] = ()


def load(file: Path, source: Source, grid: Grid) -> Anatomy | Scan:
    """Read and prepare a file.

    Raises:
        BadInput: What :func:`volumes.read` and :func:`prepare` raise, ``not_a_brain`` when it does not fit the atlas,
            or ``wrong_contrast``.
    """
    return {"labels": load_labels, "scans": load_scan, "slices": load_slices}[source.kind](file, source, grid)


def load_labels(file: Path, source: Source, grid: Grid) -> Anatomy:
    """A label map as tissue fractions on the grid."""
    labels = _cropped(sitk.DICOMOrient(sitk.ReadImage(str(file), sitk.sitkInt32), "LPS"))
    classes = tissue_labels(labels)
    brain = brain_of(classes, labels.GetSpacing()[0])
    # A noiseless T1-like picture of the labels is enough to register them.
    means = [0.0] + [sum(INTENSITIES["T1"][name]) / 2 for name in TISSUES]
    picture = sitk.GetImageFromArray(np.asarray(means, np.float32)[classes] * brain)
    mask = sitk.GetImageFromArray(brain.astype(np.uint8))
    for image in (picture, mask):
        image.CopyInformation(labels)
    registered = register(picture, mask, atlases.load(), Quiet())
    return Anatomy(file.name, tissue_fractions(labels, registered.to_atlas, grid))


def _cropped(labels: sitk.Image, margin: int = 8) -> sitk.Image:
    """The box around the labeled tissue, ``margin`` voxels wider where there is room."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    tissue = sitk.GetImageFromArray((tissue_labels(labels) > 0).astype(np.uint8))
    shape.Execute(tissue)
    start, size = np.array(shape.GetBoundingBox(1)).reshape(2, 3)
    low, high = np.maximum(start - margin, 0), np.minimum(start + size + margin, labels.GetSize())
    return sitk.RegionOfInterest(labels, (high - low).tolist(), low.tolist())


def load_scan(file: Path, source: Source, grid: Grid) -> Scan:
    """A scan as a detection prepares it, cut to the grid."""
    prepared = prepare(volumes.read(file), grid=grid, atlas=atlases.load(), progress=Quiet())
    if not prepared.registration.ok:
        raise BadInput("not_a_brain", "It does not fit the atlas of the brain.", "Look at the scan.")
    _check_contrast(prepared, source.contrast)
    volume, mask = (part(array, prepared.grid, grid) for array in (prepared.volume, prepared.mask))
    tissues = _tissue_medians(volume[mask]) if source.contrast == "T1" else None
    return Scan(file.name, source.contrast, volume.astype(np.float16), mask, tissues)


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


def load_slices(file: Path, source: Source, grid: Grid) -> Scan:
    """The slices of an archive as a stack."""
    with np.load(file) as archive:
        images = archive["image"].astype(np.float32)
        bright = archive["bright"] if "bright" in archive else np.zeros(len(images))
    first, last = (round(share * len(images)) for share in (source.skip_cleanest, source.cleanest))
    brains = {}
    for position in np.sort(np.argsort(bright, kind="stable")[first:last]).tolist():
        image = np.rot90(images[position], source.turns)
        brain = outline(image) if source.skull else image > 0
        if brain is not None and brain.any():
            brains[position] = normalized_slice(image * brain, source.spacing / grid.spacing[0], grid)
    if not brains:
        raise BadInput("no_brain", f"No slice of {file.name} shows a brain.", "Look at the slices.")
    stack = np.stack(list(brains.values()))
    return Scan(file.name, source.contrast, stack.astype(np.float16), stack > 0, None, positions=tuple(brains))


def normalized_slice(image: np.ndarray, scale: float, grid: Grid) -> np.ndarray:
    low, high = np.percentile(image[image > 0], [1, 99])
    coarse = rescale(
        np.where(image > 0, np.clip((image - low) / (high - low), 1e-3, 1), 0), scale, order=1, anti_aliasing=True
    )
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


def _tissue_medians(brain: np.ndarray) -> tuple[float, float, float]:
    low, high = threshold_multiotsu(brain.astype(np.float32), classes=3)
    classes = np.digitize(brain, [low, high])
    return tuple(float(np.median(brain[classes == index])) for index in range(3))
