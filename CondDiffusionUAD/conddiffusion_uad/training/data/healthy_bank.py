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


def cached(source: Path, folder: Path, prepared: Callable[[Path], Inputs]) -> Inputs:
    """Prepare a source, or take what was prepared from the same bytes before.

    Args:
        source: File, or folder of thin volumes.
    """
    kept = folder / f"{_digest(source, prepared)[:24]}.npz"
    if kept.is_file():
        return read(kept)
    inputs = prepared(source)
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


def _digest(source: Path, prepared: Callable[[Path], Inputs]) -> str:
    """Hash of the bytes of a file, or of a folder's files, and of how it is prepared."""
    function, given = (prepared.func, prepared.args) if isinstance(prepared, partial) else (prepared, ())
    content = hashlib.sha256()
    for file in sorted(source.rglob("*.nii.gz")) if source.is_dir() else [source]:
        content.update(file.read_bytes())
    content.update(f"{VERSION} {function.__name__} {given}".encode())
    return content.hexdigest()


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


def slices(contrast: str, known_height: bool, pattern: str, folder: Path) -> Inputs:
    """The single axial slices that the thin volumes of a folder show.

    Args:
        known_height: Whether they lie where their files say, or anywhere.
        pattern: Which files, within the folder.
        folder: Of thin volumes in the atlas' space, 1 mm in plane, 0 outside the brain.

    Raises:
        ValueError: There are none.
    """
    files = sorted(folder.glob(pattern))
    if not files:
        raise ValueError(f"{folder} holds no thin volumes {pattern}")
    stack, tissues, heights = [], [], []
    for file in files:
        image, height = thin_slice(file)
        brain = ndimage.binary_fill_holes(image > 0)
        heights.append(height if known_height else float("nan"))
        placed, mask = (centered(values, brain, heights[-1]) for values in (image, brain))
        low, high = np.percentile(placed[mask], _LIMITS)
        stack.append(np.where(mask, np.clip((placed - low) / (high - low), 0, 1), 0).astype(np.float16))
        tissues.append(_tissues(stack[-1][None], mask[None], contrast)[0])
    return Inputs("slices", contrast, np.stack(stack), np.stack(tissues), np.array(heights, np.float32))


def thin_slice(file: Path) -> tuple[np.ndarray, float]:
    """What a thin volume shows, float32 (y, x), and how high it lies in its space, mm."""
    volume = volumes.read(file, thin=True)
    middle = (volume.GetDepth() - 1) / 2
    height = volume.TransformContinuousIndexToPhysicalPoint((0.0, 0.0, middle))[2]
    return sitk.GetArrayViewFromImage(volume)[int(middle)].copy(), round(height, 3)


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
    """Which files and folders of the development data are healthy inputs, and how each is prepared."""
    train = data / "train"
    found: dict[Path, Callable[[Path], Inputs]] = {}
    for folder in ("labels_synthseg", "labels_synthsr"):
        found.update(dict.fromkeys(sorted((train / folder).glob("*.nii.gz")), labels))
    for folder, pattern in (("oasis_t1", "*_t1.nii.gz"), ("ixi_t1_2mm", "*.nii.gz")):
        found.update(dict.fromkeys(sorted((train / folder).glob(pattern)), partial(scan, "T1")))
    found[train / "soop_flair_z18"] = partial(slices, "FLAIR", True, "clean/*_flair.nii.gz")
    found[train / "ixi_t2_slices"] = partial(slices, "T2", False, "*_t2.nii.gz")
    for name, contrast in (("p01_s1", "T1"), ("p01_s1", "T2"), ("p01_s1", "FLAIR")):
        found[train / "ms_mild_raw" / f"{name}_{contrast.lower()}.nii.gz"] = partial(scan, contrast)
    for contrast in ("T1", "T2", "FLAIR"):
        found[train / "ms_mild_raw" / f"p04_s1_{contrast.lower()}.nii.gz"] = partial(scan, contrast)
    return found
