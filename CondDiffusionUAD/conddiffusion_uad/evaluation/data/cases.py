"""What a case is, and what it takes to judge one: the brain, the truth, and the way back to the scan's own grid."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.preparation import Prepared, prepare
from conddiffusion_uad.protocol.events import Progress, Quiet
from conddiffusion_uad.training.data.anatomy import read_labels

_LONGEST_ID = 120  # characters; file systems allow 255 bytes, of which suffixes and temporary names need some


@dataclass(frozen=True)
class Case:
    """A scan to be judged.

    Attributes:
        patient: Who is shown; scans of one patient are not independent.
        dataset: What it belongs to.
        contrast: "T1", "T2" or "FLAIR".
        scan: Its file.
        truth: Label map that says where the lesion is; None if healthy.
        lesion_labels: Values of the label map that are lesion; None for all but 0.
        ignored_labels: Values where neither lesion nor healthy tissue is; nothing is judged there.
        repeat: Tells scans apart that agree in patient, data set and contrast.
    """

    patient: str
    dataset: str
    contrast: str
    scan: Path
    truth: Path | None = None
    lesion_labels: tuple[int, ...] | None = None
    ignored_labels: tuple[int, ...] = ()
    repeat: int = 0

    @property
    def id(self) -> str:
        """Name for files about this case; unique among cases that went through :func:`with_unique_ids`."""
        safe = re.sub(r"[^0-9A-Za-z._-]+", "_", "-".join([self.dataset, self.patient, self.contrast]))
        return safe.strip("._-")[:_LONGEST_ID] + (f"-again{self.repeat}" if self.repeat else "")


def with_unique_ids(cases: Iterable[Case]) -> list[Case]:
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

    Attributes:
        case: Which.
        prepared: The scan on the model's grid, and the way back.
        native_mask: Brain on the scan's own grid, boolean (z, y, x), without what is ignored.
        native_truth: Lesion on the scan's own grid, boolean (z, y, x); it may reach out of the brain.
        spacing: Of the scan's own grid, (z, y, x) mm.
    """

    case: Case
    prepared: Prepared
    native_mask: np.ndarray
    native_truth: np.ndarray
    spacing: tuple[float, float, float]

    @property
    def volume(self) -> np.ndarray:
        """The scan on the model's grid, (z, y, x) in [0, 1], 0 outside the brain."""
        return self.prepared.volume

    @property
    def mask(self) -> np.ndarray:
        """The brain on the model's grid, boolean (z, y, x)."""
        return self.prepared.mask

    def native(self, scores: np.ndarray) -> np.ndarray:
        """Bring scores (z, y, x) from the model's grid to the scan's own: float32, 0 outside ``native_mask``."""
        own = sitk.GetArrayFromImage(self.prepared.score_to_native(scores))
        return np.where(self.native_mask, own, 0).astype(np.float32)

    def native_intensity(self, values: np.ndarray) -> np.ndarray:
        """Bring intensities (z, y, x) from the model's grid to the scan's own grid and units."""
        return sitk.GetArrayFromImage(self.prepared.intensity_to_native(values))

    def truth_on_grid(self) -> np.ndarray:
        """The lesion on the model's grid, boolean (z, y, x), by the nearest voxel."""
        truth = self.prepared.reference.with_array(self.native_truth.astype(np.uint8))
        to_atlas, grid = self.prepared.registration.to_atlas, self.prepared.grid
        return sitk.GetArrayFromImage(sitk.Resample(truth, grid.blank(), to_atlas, sitk.sitkNearestNeighbor)) > 0


def is_lesion(case: Case, labels: np.ndarray) -> np.ndarray:
    """Which labels mean lesion in a case."""
    return labels != 0 if case.lesion_labels is None else np.isin(labels, case.lesion_labels)


def examine(
    case: Case, grid: Grid, *, skull: str = "auto", device: Any = "cpu", progress: Progress | None = None
) -> Examined:
    """Bring a case to the grid of a bundle, as a detection does.

    Raises:
        BadInput: What :func:`volumes.read` and :func:`prepare` raise.
    """
    scan = volumes.read(case.scan, thin=True)
    prepared = prepare(scan, grid=grid, atlas=atlas.load(), skull=skull, device=device, progress=progress or Quiet())
    lesion, ignored = _marked(case, scan)
    brain = sitk.GetArrayFromImage(prepared.native_mask) > 0
    return Examined(case, prepared, brain & ~ignored, lesion, scan.GetSpacing()[::-1])


def _marked(case: Case, scan: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Where lesion is and where nothing is judged, boolean (z, y, x) on the scan's grid; nowhere in a healthy scan."""
    if case.truth is None:
        nowhere = np.zeros(scan.GetSize()[::-1], bool)
        return nowhere, nowhere
    resampled = sitk.Resample(read_labels(case.truth), scan, sitk.Transform(), sitk.sitkNearestNeighbor)
    labels = sitk.GetArrayFromImage(resampled)
    ignored = np.isin(labels, case.ignored_labels)
    return is_lesion(case, labels) & ~ignored, ignored
