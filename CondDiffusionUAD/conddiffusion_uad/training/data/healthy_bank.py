"""Healthy inputs of the synthesis, prepared once and cached: label maps, scans and slices on the fine atlas grid.

The fine grid has 1 mm in plane and 2 mm between slices; four of its pixels are one of a bundle's 2 mm grid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas as atlases
from conddiffusion_uad.preprocessing import normalization, resampling
from conddiffusion_uad.preprocessing.preparation import prepare
from conddiffusion_uad.preprocessing.registration import register
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.training.data.anatomy import TISSUES, brain_of, tissue_labels
from conddiffusion_uad.training.data.crop import crop_to
from conddiffusion_uad.training.data.slice_outline import outline
from conddiffusion_uad.training.data.synthesis import INTENSITIES

VERSION = 1  # of what the cache holds; raise it when a preparation changes
FINE = Grid((160, 192, 80), (1.0, 1.0, 2.0), (-79.5, -79.5, -75.0))
LABELS = Grid((160, 192, 160), (1.0, 1.0, 1.0), (-79.5, -79.5, -75.5))
FLUID, GRAY, WHITE = 1, 2, 3  # tissue classes of scans, in the order of T1 intensities
_LIMITS = (0.05, 99.95)  # percentiles that become 0 and 1: wide, since anomalies are put in before normalization
_BRIGHTEST_LAST = {"T1": (FLUID, GRAY, WHITE), "T2": (WHITE, GRAY, FLUID), "FLAIR": (FLUID, WHITE, GRAY)}


@dataclass(frozen=True)
class Inputs:
    """One prepared healthy input.

    Attributes:
        kind: "labels", "scan" or "slices".
        contrast: "T1", "T2" or "FLAIR"; empty for labels.
        image: Labels: tissue index of :data:`TISSUES` plus 1, uint8 (z, y, x) on :data:`LABELS`. Scan: float16
            (z, y, x) on :data:`FINE`. Slices: float16 (n, y, x), the plane of :data:`FINE`. Outside the brain 0.
        tissue: Of scans and slices, uint8 of the same shape: 0 outside, FLUID, GRAY or WHITE. Empty for labels.
        heights: Of slices, mm in the atlas; NaN where unknown. Empty otherwise.
    """

    kind: str
    contrast: str
    image: np.ndarray
    tissue: np.ndarray
    heights: np.ndarray


def cached(file: Path, folder: Path, prepared: Callable[[Path], Inputs]) -> Inputs:
    """Prepare a file, or take what was prepared from the same bytes before.

    Args:
        file: Source file.
        folder: Cache, made if needed.
        prepared: What prepares the file.
    """
    kept = folder / f"{_digest(file, prepared)[:24]}.npz"
    if kept.is_file():
        return read(kept)
    inputs = prepared(file)
    folder.mkdir(parents=True, exist_ok=True)
    write(kept, inputs)
    return inputs


def write(file: Path, inputs: Inputs) -> None:
    """Keep prepared inputs as an .npz file, which is there as a whole or not at all."""
    unfinished = file.with_suffix(".partial.npz")
    np.savez_compressed(unfinished, **vars(inputs))
    unfinished.replace(file)


def read(file: Path) -> Inputs:
    """Prepared inputs that :func:`write` kept, or :func:`packed` ones."""
    with np.load(file) as values:
        inputs = Inputs(str(values["kind"]), str(values["contrast"]), *(values[k] for k in _ARRAYS))
    if inputs.kind != "labels" and inputs.image.dtype == np.uint8:
        inputs = replace(inputs, image=(inputs.image / np.float16(255)).astype(np.float16))
    return inputs


def packed(inputs: Inputs) -> Inputs:
    """The same in less space: intensities in 255 steps."""
    if inputs.kind == "labels":
        return inputs
    return replace(inputs, image=np.rint(255 * inputs.image.astype(np.float32)).astype(np.uint8))


def _digest(file: Path, prepared: Callable[[Path], Inputs]) -> str:
    """Hash of a file's bytes and of how it is prepared."""
    function, given = (prepared.func, prepared.args) if isinstance(prepared, partial) else (prepared, ())
    return hashlib.sha256(file.read_bytes() + f"{VERSION} {function.__name__} {given}".encode()).hexdigest()


_ARRAYS = ("image", "tissue", "heights")
_NONE = np.zeros(0, np.uint8)


def labels(file: Path) -> Inputs:
    """A FreeSurfer label map, registered to the atlas by a noiseless T1-like picture of it.

    Raises:
        ValueError: The label map does not fit the atlas.
    """
    image = _cropped(sitk.DICOMOrient(sitk.ReadImage(str(file), sitk.sitkInt32), "LPS"))
    classes = tissue_labels(image)
    brain = brain_of(classes, image.GetSpacing()[::-1])
    means = np.asarray([0.0] + [sum(INTENSITIES["T1"][name]) / 2 for name in TISSUES], np.float32)
    classes = np.where(brain, np.where(classes == 0, 1 + list(TISSUES).index("subarachnoid fluid"), classes), 0)
    picture, mask = (_like(image, values) for values in (means[classes], brain.astype(np.uint8)))
    registered = register(picture, mask, atlases.load(), Quiet())
    if not registered.ok:
        raise ValueError(f"the label map {file.name} does not fit the atlas")
    like = _like(image, classes.astype(np.uint8))
    on_grid = sitk.Resample(like, LABELS.blank(), registered.to_atlas, sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
    return Inputs("labels", "", sitk.GetArrayFromImage(on_grid), _NONE, _NONE)


def _like(image: sitk.Image, values: np.ndarray) -> sitk.Image:
    made = sitk.GetImageFromArray(values)
    made.CopyInformation(image)
    return made


def _cropped(image: sitk.Image, margin: int = 8) -> sitk.Image:
    where = np.nonzero(tissue_labels(image))
    low = [max(0, int(axis.min()) - margin) for axis in where[::-1]]
    high = [min(size, int(axis.max()) + 1 + margin) for axis, size in zip(where[::-1], image.GetSize(), strict=True)]
    x, y, z = (slice(a, b) for a, b in zip(low, high, strict=True))
    return image[x, y, z]


def scan(contrast: str, file: Path) -> Inputs:
    """A scan as a detection prepares it, on the fine grid, with wide limits of its intensities."""
    volume, mask, _ = fine_volume(volumes.read(file), _LIMITS)
    tissue = _tissues(volume, mask, contrast)
    return Inputs("scan", contrast, volume.astype(np.float16), tissue, _NONE)


def fine_volume(
    image: sitk.Image, limits: tuple[float, float] = (1.0, 99.0)
) -> tuple[np.ndarray, np.ndarray, sitk.Transform]:
    """A scan prepared as in a detection, but on the fine grid.

    Args:
        image: As :func:`volumes.read` returns it.
        limits: Percentiles of the intensities in the brain that become 0 and 1.

    Returns:
        float32 volume, boolean mask, both (z, y, x), and the map from points of the atlas to points of the scan.

    Raises:
        ValueError: The scan does not fit the atlas.
    """
    prepared = prepare(image, grid=FINE, atlas=atlases.load(), progress=Quiet())
    if not prepared.registration.ok:
        raise ValueError("the scan does not fit the atlas")
    corrected = prepared.way.corrected.image
    brain = sitk.Resample(prepared.native_mask, corrected, sitk.Transform(), sitk.sitkNearestNeighbor)
    made = resampling.to_grid(
        normalization.normalize(corrected, brain, *limits).image, brain, FINE, prepared.registration.to_atlas
    )
    volume, mask = (crop_to(values, made.grid, FINE) for values in (made.volume, made.mask))
    return volume, mask, prepared.registration.to_atlas


def slices(
    contrast: str, turns: int, skull: bool, height: float, cleanest: float, pixel: tuple[float, float], file: Path
) -> Inputs:
    """Single axial slices.

    Args:
        contrast: Theirs.
        turns: Quarter turns counterclockwise that bring anterior up.
        skull: Whether it is there.
        height: Of the slices in the atlas, mm; NaN when unknown.
        cleanest: Share of the slices with the fewest white-matter hyperintensities (``bright``) that is taken.
        pixel: Size of the turned slices' pixels, mm (rows, columns).
        file: Archive with ``image`` (n, rows, columns), perhaps ``bright`` (n,).
    """
    with np.load(file) as archive:
        images = archive["image"].astype(np.float32)
        bright = archive["bright"] if "bright" in archive else np.zeros(len(images))
    stack, tissues = [], []
    for position in np.sort(np.argsort(bright, kind="stable")[: round(cleanest * len(images))]):
        image = np.rot90(images[position], turns)
        image = image if pixel == (1.0, 1.0) else np.clip(ndimage.zoom(image, pixel, order=1), 0, None)
        brain = outline(image) if skull else ndimage.binary_fill_holes(image > 0)
        if brain is None or not brain.any():
            continue
        placed, mask = (centered(values, brain, height) for values in (image * brain, brain.astype(np.float32)))
        low, high = np.percentile(placed[mask > 0.5], _LIMITS)
        stack.append(np.where(mask > 0.5, np.clip((placed - low) / (high - low), 0, 1), 0).astype(np.float16))
        tissues.append(_tissues(stack[-1][None], mask[None] > 0.5, contrast)[0])
    return Inputs("slices", contrast, np.stack(stack), np.stack(tissues), np.full(len(stack), height, np.float32))


def centered(image: np.ndarray, brain: np.ndarray, height: float) -> np.ndarray:
    """A slice (rows, columns) moved onto the fine grid's plane so that its brain's box is centered as the atlas'."""
    rows, columns = (np.flatnonzero(brain.any(axis=axis)) for axis in (1, 0))
    own = np.array([rows[0] + rows[-1], columns[0] + columns[-1]]) / 2
    start = np.rint(_middle(height) - own).astype(int)
    result = np.zeros(FINE.size[1::-1], image.dtype)
    source = [slice(max(0, -s), min(n, size - s)) for s, n, size in zip(start, image.shape, result.shape, strict=True)]
    result[tuple(slice(p.start + s, p.stop + s) for p, s in zip(source, start, strict=True))] = image[tuple(source)]
    return result


def _middle(height: float) -> np.ndarray:
    """Row and column of the middle of the atlas' brain in the fine grid's slice at a height; at +18 mm if unknown."""
    mask = sitk.Resample(atlases.load().mask, FINE.blank(sitk.sitkUInt8), sitk.Transform(), sitk.sitkNearestNeighbor)
    z = round(((18.0 if np.isnan(height) else height) - FINE.origin[2]) / FINE.spacing[2])
    inside = sitk.GetArrayFromImage(mask)[z] > 0
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    return np.array([rows[0] + rows[-1], columns[0] + columns[-1]]) / 2


def _tissues(volume: np.ndarray, mask: np.ndarray, contrast: str) -> np.ndarray:
    """Fluid, gray and white matter told apart by intensity alone, of the volume smoothed a little in plane."""
    smooth = ndimage.gaussian_filter(volume.astype(np.float32), (0, 0.7, 0.7))
    classes = np.digitize(smooth, threshold_multiotsu(smooth[mask], classes=3))
    return np.where(mask, np.asarray(_BRIGHTEST_LAST[contrast], np.uint8)[classes], 0).astype(np.uint8)


def recipe(data: Path) -> Mapping[Path, Callable[[Path], Inputs]]:
    """Which files of the development data are healthy inputs, and how each is prepared."""
    train = data / "train"
    found: dict[Path, Callable[[Path], Inputs]] = {}
    for folder in ("labels_synthseg", "labels_synthsr"):
        found.update(dict.fromkeys(sorted((train / folder).glob("*.nii.gz")), labels))
    for folder, pattern in (("oasis_t1", "*_t1.nii.gz"), ("ixi_t1_2mm", "*.nii.gz")):
        found.update(dict.fromkeys(sorted((train / folder).glob(pattern)), partial(scan, "T1")))
    found[train / "soop_flair_z18.npz"] = partial(slices, "FLAIR", 0, False, 18.0, 0.45, (1.0, 1.0))
    found[train / "ixi_t2_slices.npz"] = partial(slices, "T2", 3, True, float("nan"), 1.0, (0.94, 1.2))
    for name, contrast in (("p01_s1", "T1"), ("p01_s1", "T2"), ("p01_s1", "FLAIR")):
        found[train / "ms_mild_raw" / f"{name}_{contrast.lower()}.nii.gz"] = partial(scan, contrast)
    for contrast in ("T1", "T2", "FLAIR"):
        found[train / "ms_mild_raw" / f"p04_s1_{contrast.lower()}.nii.gz"] = partial(scan, contrast)
    return found
