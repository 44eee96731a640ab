"""The scans that a bundle is judged on, and what it takes to judge one: the brain, the truth, and the way back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from skimage.transform import rescale

from conddiffusion_uad.evaluation.single_slices import THICK, fit_to, normalized_slice
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.brain import Brain, Volume
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.preparation import Prepared, prepare
from conddiffusion_uad.protocol.events import Progress, Quiet

SLICE_SPACING = 1.0  # mm, of the slices in an archive
_LONGEST_ID = 120  # characters; file systems allow 255 bytes, of which suffixes and temporary names need some


@dataclass(frozen=True)
class Case:
    """A scan to be judged.

    Attributes:
        patient: Who is shown; scans of one patient are not independent.
        dataset: What it belongs to.
        contrast: "T1", "T2" or "FLAIR".
        scan: Its file.
        truth: Label map that says where the lesion is, or the archive itself; None if healthy.
        index: Position in an archive of slices; None for a volume.
        lesion_labels: Values of the label map that are lesion; None for all but 0.
        ignored_labels: Values where neither lesion nor healthy tissue is; nothing is judged there.
        repeat: Tells scans apart that agree in patient, data set, contrast and index.
    """

    patient: str
    dataset: str
    contrast: str
    scan: Path
    truth: Path | None = None
    index: int | None = None
    lesion_labels: tuple[int, ...] | None = None
    ignored_labels: tuple[int, ...] = ()
    repeat: int = 0

    @property
    def id(self) -> str:
        """Name for files about this case; unique among cases that went through :func:`told_apart`."""
        index = [] if self.index is None else [str(self.index)]
        repeat = [f"again{self.repeat}"] if self.repeat else []
        safe = re.sub(r"[^0-9A-Za-z._-]+", "_", "-".join([self.dataset, self.patient, self.contrast]))
        return "-".join([safe.strip("._-")[:_LONGEST_ID], *index, *repeat])


def told_apart(cases: Iterable[Case]) -> list[Case]:
    """The cases with different ids, also where upper and lower case are one."""
    seen: set[str] = set()
    result = []
    for case in cases:
        while case.id.lower() in seen:
            case = replace(case, repeat=case.repeat + 1)
        seen.add(case.id.lower())
        result.append(case)
    return result


@dataclass(frozen=True)
class Examined:
    """A case on the model's grid, and where it is judged: on its own grid.

    A slice's own grid is the model's, with one slice.

    Attributes:
        case: Which.
        volume: (z, y, x) in [0, 1], 0 outside the brain.
        mask: Brain, boolean, same shape.
        grid: Where these voxels lie in the atlas; None for a slice.
        native_mask: Brain on the scan's own grid, boolean (z, y, x), without what is ignored.
        native_truth: Lesion on the scan's own grid, boolean (z, y, x); it may reach out of the brain.
        spacing: Of the scan's own grid, (z, y, x) mm.
        prepared: What else the preparation found; None for a slice.
    """

    case: Case
    volume: np.ndarray
    mask: np.ndarray
    grid: Grid | None
    native_mask: np.ndarray
    native_truth: np.ndarray
    spacing: tuple[float, float, float]
    prepared: Prepared | None

    @property
    def brain(self) -> Brain:
        """The case as a method looks at it."""
        return self.prepared or Volume(self.volume, self.mask, self.grid)

    def native(self, scores: np.ndarray) -> np.ndarray:
        """Bring scores (z, y, x) from the model's grid to the scan's own: float32, 0 outside ``native_mask``."""
        if self.prepared is None:
            own = scores[THICK // 2][None]
        else:
            own = sitk.GetArrayFromImage(self.prepared.score_to_native(scores))
        return np.where(self.native_mask, own, 0).astype(np.float32)

    def native_intensity(self, values: np.ndarray) -> np.ndarray:
        """Bring intensities (z, y, x) from the model's grid to the scan's own grid and units; of a slice, 0 to 1."""
        if self.prepared is None:
            return values[THICK // 2][None].astype(np.float32)
        return sitk.GetArrayFromImage(self.prepared.intensity_to_native(values))


def examine(
    case: Case, grid: Grid, *, skull: str = "auto", device: Any = "cpu", progress: Progress | None = None
) -> Examined:
    """Bring a case to the grid of a bundle, as a detection does.

    Args:
        case: Which.
        grid: Of the bundle.
        skull: See :func:`prepare`.
        device: That strips the skull.
        progress: Told the steps of a volume.

    Raises:
        BadInput: What :func:`volumes.read` and :func:`prepare` raise.
    """
    if case.index is not None:
        return _examine_slice(case, grid)
    scan = volumes.read(case.scan, thin=True)
    prepared = prepare(scan, grid=grid, atlas=atlas.load(), skull=skull, device=device, progress=progress or Quiet())
    lesion, ignored = _marked(case, scan)
    brain = sitk.GetArrayFromImage(prepared.native_mask) > 0
    place = (prepared.volume, prepared.mask, prepared.grid)
    return Examined(case, *place, brain & ~ignored, lesion, scan.GetSpacing()[::-1], prepared)


def read_labels(path: Path) -> sitk.Image:
    """Read a label map of whole numbers; others are rounded. Raises BadInput when it is none."""
    return sitk.Cast(sitk.Round(volumes.read_values(path)), sitk.sitkInt32)


def is_lesion(case: Case, labels: np.ndarray) -> np.ndarray:
    """Which labels mean lesion in a case."""
    return labels != 0 if case.lesion_labels is None else np.isin(labels, case.lesion_labels)


def _marked(case: Case, scan: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Where lesion is and where nothing is judged, boolean (z, y, x) on the scan's grid; nowhere in a healthy scan."""
    if case.truth is None:
        nowhere = np.zeros(scan.GetSize()[::-1], bool)
        return nowhere, nowhere
    resampled = sitk.Resample(read_labels(case.truth), scan, sitk.Transform(), sitk.sitkNearestNeighbor)
    labels = sitk.GetArrayFromImage(resampled)
    ignored = np.isin(labels, case.ignored_labels)
    return is_lesion(case, labels) & ~ignored, ignored


def _examine_slice(case: Case, grid: Grid) -> Examined:
    """A slice as a stack of equal ones: so a thick slice looks on the model's grid."""
    scale = SLICE_SPACING / grid.spacing[0]
    stored = _archive(case.scan)
    image = stored["image"][case.index].astype(np.float32)
    truth = is_lesion(case, stored["mask"][case.index]) if case.truth else np.zeros(image.shape, bool)
    single = normalized_slice(image, scale, grid)
    lesion = fit_to(rescale(truth.astype(np.float32), scale, order=1, anti_aliasing=True), grid) > 0.5
    volume = np.repeat(single[None], THICK, axis=0)
    return Examined(case, volume, volume > 0, None, single[None] > 0, lesion[None], grid.spacing[::-1], None)


@lru_cache(maxsize=1)
def _archive(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive, unpacked once for its many slices."""
    with np.load(path) as stored:
        return dict(stored)
