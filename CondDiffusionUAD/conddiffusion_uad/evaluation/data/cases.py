"""What a case is, and what it takes to judge one: the brain, the truth, and the way back to the scan's own grid."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.brain import Brain, Volume
from conddiffusion_uad.preprocessing.preparation import Prepared

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
        """Name for files about this case; unique among cases that went through :func:`with_unique_ids`."""
        index = [] if self.index is None else [str(self.index)]
        repeat = [f"again{self.repeat}"] if self.repeat else []
        safe = re.sub(r"[^0-9A-Za-z._-]+", "_", "-".join([self.dataset, self.patient, self.contrast]))
        return "-".join([safe.strip("._-")[:_LONGEST_ID], *index, *repeat])


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
class Problem:
    """Why a file cannot be used, or what should be known about it.

    Attributes:
        file: Which.
        message: One sentence.
        hint: What to do about it; may be empty.
        fatal: Whether its cases cannot be judged; otherwise this is a note.
        cases: Which cases it concerns.
    """

    file: Path
    message: str
    hint: str = ""
    fatal: bool = True
    cases: tuple[Case, ...] = ()


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
            own = scores[len(scores) // 2][None]
        else:
            own = sitk.GetArrayFromImage(self.prepared.score_to_native(scores))
        return np.where(self.native_mask, own, 0).astype(np.float32)

    def native_intensity(self, values: np.ndarray) -> np.ndarray:
        """Bring intensities (z, y, x) from the model's grid to the scan's own grid and units; of a slice, 0 to 1."""
        if self.prepared is None:
            return values[len(values) // 2][None].astype(np.float32)
        return sitk.GetArrayFromImage(self.prepared.intensity_to_native(values))

    def truth_on_grid(self) -> np.ndarray:
        """The lesion on the model's grid, boolean (z, y, x), by the nearest voxel."""
        if self.prepared is None:
            return np.repeat(self.native_truth, len(self.volume), axis=0)
        truth = self.prepared.reference.with_array(self.native_truth.astype(np.uint8))
        to_atlas = self.prepared.registration.to_atlas
        return sitk.GetArrayFromImage(sitk.Resample(truth, self.grid.blank(), to_atlas, sitk.sitkNearestNeighbor)) > 0


def read_labels(path: Path) -> sitk.Image:
    """Read a label map of whole numbers; others are rounded. Raises BadInput when it is none."""
    return sitk.Cast(sitk.Round(volumes.read_values(path)), sitk.sitkInt32)


def is_lesion(case: Case, labels: np.ndarray) -> np.ndarray:
    """Which labels mean lesion in a case."""
    return labels != 0 if case.lesion_labels is None else np.isin(labels, case.lesion_labels)
