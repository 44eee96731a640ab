"""The scans that a bundle is judged on: labeled and healthy volumes, and archives of single slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from skimage.transform import rescale

from conddiffusion_uad import volume as volumes
from conddiffusion_uad.contrast_names import named_in
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.preparation import prepare
from conddiffusion_uad.protocol import Quiet
from conddiffusion_uad.training.calibration import THICK
from conddiffusion_uad.training.prepared import fit_to, normalized_slice
from conddiffusion_uad.volume import Grid

TRUTH = "seg.nii.gz"
SLICE_SPACING = 1.0  # mm, of the slices in an archive


@dataclass(frozen=True)
class Case:
    """A scan to be scored.

    Attributes:
        name: Of the patient.
        contrast: "T1", "T2" or "FLAIR".
        scan: Its file.
        truth: File that says where the lesion is: a label map that is not 0 there, or an archive; None if healthy.
        index: Position in an archive of slices; None for a volume.
    """

    name: str
    contrast: str
    scan: Path
    truth: Path | None
    index: int | None = None

    @property
    def collection(self) -> str:
        """What it belongs to: the folder that the patient's folder lies in, or the archive."""
        return self.scan.parents[1].name if self.index is None else self.scan.stem


@dataclass(frozen=True)
class Examined:
    """A case on the model's grid, and the way to where it is judged.

    Attributes:
        case: Which.
        volume: (z, y, x) in [0, 1], 0 outside the brain.
        mask: Brain, boolean, same shape.
        grid: Where the voxels lie in the atlas; None for a slice.
        truth: Whether each voxel of the brain is lesion, flat, on the scan's own grid (slices: the model's).
        judged: Brings scores (z, y, x) to the same voxels as the truth.
    """

    case: Case
    volume: np.ndarray
    mask: np.ndarray
    grid: Grid | None
    truth: np.ndarray
    judged: Callable[[np.ndarray], np.ndarray]


def labeled_cases(folder: Path, contrasts: Sequence[str]) -> Iterator[Case]:
    """Patients' folders with ``<contrast>.nii.gz`` and ``seg.nii.gz``, and archives of slices with ``mask``."""
    for truth in sorted(folder.glob(f"**/{TRUTH}")):
        for contrast in contrasts:
            scan = truth.with_name(f"{contrast.lower()}.nii.gz")
            if scan.is_file():
                yield Case(truth.parent.name, contrast, scan, truth)
    yield from _slices(folder, contrasts, labeled=True)


def healthy_cases(folder: Path, contrasts: Sequence[str]) -> Iterator[Case]:
    """Healthy scans named ``*_<contrast>.nii.gz``, and archives of slices without ``mask``."""
    for contrast in contrasts:
        for scan in sorted(folder.glob(f"**/*_{contrast.lower()}.nii.gz")):
            yield Case(scan.name.split(".")[0], contrast, scan, None)
    yield from _slices(folder, contrasts, labeled=False)


def _slices(folder: Path, contrasts: Sequence[str], *, labeled: bool) -> Iterator[Case]:
    for archive in sorted(folder.glob("**/*.npz")):
        contrast = named_in(archive.stem)
        with np.load(archive) as stored:
            if contrast not in contrasts or ("mask" in stored) != labeled:
                continue
            count = len(stored["image"])
            names = stored["id"].tolist() if "id" in stored else [f"{archive.stem}[{i}]" for i in range(count)]
        for index, name in enumerate(names):
            yield Case(name, contrast, archive, archive if labeled else None, index)


def examine(case: Case, grid: Grid) -> Examined:
    """Bring a case to the grid of a bundle, as a detection does; raises Failure like it."""
    return _examine_slice(case, grid) if case.index is not None else _examine_volume(case, grid)


def _examine_volume(case: Case, grid: Grid) -> Examined:
    scan = volumes.read(case.scan)
    prepared = prepare(scan, grid=grid, atlas=atlas.load(), progress=Quiet())
    brain = sitk.GetArrayFromImage(prepared.native_mask) > 0

    def judged(scores: np.ndarray) -> np.ndarray:
        return sitk.GetArrayFromImage(prepared.score_to_native(scores))[brain]

    return Examined(case, prepared.volume, prepared.mask, prepared.grid, _lesion(case, scan)[brain], judged)


def _lesion(case: Case, scan: sitk.Image) -> np.ndarray:
    """Where the lesion is, boolean (z, y, x) on the scan's grid; nowhere in a healthy scan."""
    if case.truth is None:
        return np.zeros(scan.GetSize()[::-1], bool)
    labels = sitk.Resample(sitk.ReadImage(str(case.truth)), scan, sitk.Transform(), sitk.sitkNearestNeighbor)
    return sitk.GetArrayFromImage(labels) > 0


def _examine_slice(case: Case, grid: Grid) -> Examined:
    """A slice as a stack of equal ones: so a thick slice looks on the model's grid."""
    scale = SLICE_SPACING / grid.spacing[0]
    stored = _archive(case.scan)
    image = stored["image"][case.index].astype(np.float32)
    truth = stored["mask"][case.index] if case.truth else np.zeros(image.shape, bool)
    single = normalized_slice(image, scale, grid)
    lesion = fit_to(rescale(truth.astype(np.float32), scale, order=1, anti_aliasing=True), grid) > 0.5
    volume = np.repeat(single[None], THICK, axis=0)
    brain = single > 0

    def judged(scores: np.ndarray) -> np.ndarray:
        return scores[THICK // 2][brain]

    return Examined(case, volume, volume > 0, None, lesion[brain], judged)


@lru_cache(maxsize=1)
def _archive(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive, unpacked once for its many slices."""
    with np.load(path) as stored:
        return dict(stored)
