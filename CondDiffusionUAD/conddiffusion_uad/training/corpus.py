"""Healthy training data on the bundle's grid, prepared once and cached."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from skimage.filters import threshold_multiotsu
from skimage.transform import rescale

from conddiffusion_uad import volume as volumes
from conddiffusion_uad.preprocessing import atlas as atlases
from conddiffusion_uad.preprocessing.preparation import prepare
from conddiffusion_uad.preprocessing.registration import register
from conddiffusion_uad.protocol import BadInput, OutputFailure, Quiet
from conddiffusion_uad.volume import Grid

from .anatomy import TISSUES, brain_of, tissue_fractions, tissue_labels
from .recipe import Source
from .synthesis import INTENSITIES

Log = Callable[[str], None]


@dataclass(frozen=True)
class Anatomy:
    """A label map on the bundle's grid.

    Attributes:
        name: Of its file.
        fractions: uint8 (tissues + 1, z, y, x), see :func:`tissue_fractions`.
    """

    name: str
    fractions: np.ndarray


@dataclass(frozen=True)
class Scan:
    """A healthy scan, or a stack of single slices, normalized on the bundle's grid.

    Attributes:
        name: Of its file.
        contrast: "T1", "T2" or "FLAIR".
        volume: float16 (z, y, x) in [0, 1].
        mask: Brain, boolean, same shape.
        tissues: Median intensity of fluid, gray and white matter; None when they cannot be told from the intensity.
    """

    name: str
    contrast: str
    volume: np.ndarray
    mask: np.ndarray
    tissues: tuple[float, float, float] | None


@dataclass(frozen=True)
class Part:
    """What one source contributes: data to learn from and data kept for calibration."""

    source: Source
    fit: list[Anatomy] | list[Scan]
    held_out: list[Anatomy] | list[Scan]


def load_corpus(sources: tuple[Source, ...], data: Path, grid: Grid, cache: Path, log: Log) -> list[Part]:
    """Read and prepare all sources; what is in the cache already is taken from there.

    Raises:
        BadInput: ``no_training_data`` when the folder is missing, or a source finds no more than it shall hold out.
        OutputFailure: ``cannot_write`` when the cache cannot be made.
    """
    if not data.is_dir():
        raise BadInput("no_training_data", f"There is no folder {data}.", "Check --data.")
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFailure("cannot_write", f"The cache {cache} cannot be made.", "Give another --cache.") from error
    return [_load_part(source, data, grid, cache, log) for source in sources]


def _load_part(source: Source, data: Path, grid: Grid, cache: Path, log: Log) -> Part:
    files = sorted(data.glob(source.files))
    if source.kind == "slices":
        stacks = [_cached(file, source, grid, cache, _load_slices, log) for file in files]
        items = [single for stack in stacks for single in _one_by_one(stack)]
    else:
        load = {"labels": _load_labels, "scans": _load_scan}[source.kind]
        items = [_cached(file, source, grid, cache, load, log) for file in files]
    if len(items) <= source.held_out:
        raise BadInput(
            "no_training_data",
            f"{data / source.files} finds {len(items)} scans; {source.held_out} of them are to be held out.",
            "Check the data folder and the recipe's sources.",
        )
    split = len(items) - source.held_out
    return Part(source, items[:split], items[split:])


def _one_by_one(stack: Scan) -> Iterator[Scan]:
    for index in range(len(stack.volume)):
        part = slice(index, index + 1)
        yield replace(stack, name=f"{stack.name}[{index}]", volume=stack.volume[part], mask=stack.mask[part])


def _cached(
    file: Path, source: Source, grid: Grid, cache: Path, load: Callable[[Path, Source, Grid], Anatomy | Scan], log: Log
) -> Anatomy | Scan:
    """Load through a cache file that is named after the content of all that decides it."""
    key = hashlib.sha256(repr((source.kind, source.contrast, source.spacing, source.cleanest, grid)).encode())
    key.update(file.read_bytes())
    entry = cache / f"{file.name.split('.')[0]}-{key.hexdigest()[:16]}.npz"
    if not entry.is_file():
        log(f"Preparing {file.name}")
        item = load(file, source, grid)
        partial = entry.with_suffix(".part.npz")
        np.savez_compressed(partial, **{key: value for key, value in vars(item).items() if value is not None})
        partial.replace(entry)
    with np.load(entry) as stored:
        values = {name: stored[name] if stored[name].ndim > 1 else stored[name].tolist() for name in stored.files}
    return Anatomy(**values) if source.kind == "labels" else Scan(**{"tissues": None, **values})


def _load_labels(file: Path, source: Source, grid: Grid) -> Anatomy:
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


def _load_scan(file: Path, source: Source, grid: Grid) -> Scan:
    prepared = prepare(volumes.read(file), grid=grid, atlas=atlases.load(), progress=Quiet())
    volume, mask = (_on_grid(array, prepared.grid, grid) for array in (prepared.volume, prepared.mask))
    tissues = _tissue_medians(volume[mask]) if source.contrast == "T1" else None
    return Scan(file.name, source.contrast, volume.astype(np.float16), mask, tissues)


def _load_slices(file: Path, source: Source, grid: Grid) -> Scan:
    with np.load(file) as archive:
        images = archive["image"].astype(np.float32)
        bright = archive["bright"] if "bright" in archive else np.zeros(len(images))
    images = images[np.sort(np.argsort(bright, kind="stable")[: round(source.cleanest * len(images))])]
    stack = np.stack([_normalized_slice(image, source.spacing / grid.spacing[0], grid) for image in images])
    return Scan(file.name, source.contrast, stack.astype(np.float16), stack > 0, None)


def _normalized_slice(image: np.ndarray, scale: float, grid: Grid) -> np.ndarray:
    low, high = np.percentile(image[image > 0], [1, 99])
    coarse = rescale(
        np.where(image > 0, np.clip((image - low) / (high - low), 1e-3, 1), 0), scale, order=1, anti_aliasing=True
    )
    inside = rescale((image > 0).astype(np.float32), scale, order=1, anti_aliasing=True) > 0.5
    return _fit_to(np.where(inside, coarse, 0), grid)


def _on_grid(array: np.ndarray, enlarged: Grid, grid: Grid) -> np.ndarray:
    """The part of an array on an enlarged grid that lies on the grid itself."""
    start = np.rint((np.array(grid.origin) - enlarged.origin) / grid.spacing).astype(int)
    return array[tuple(slice(low, low + size) for low, size in zip(start[::-1], grid.size[::-1], strict=True))]


def _fit_to(image: np.ndarray, grid: Grid) -> np.ndarray:
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
