"""Bringing a case to the grid of a bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.evaluation.data import slice_archive
from conddiffusion_uad.evaluation.data.cases import Case, Examined, is_lesion, read_labels
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.preparation import prepare
from conddiffusion_uad.protocol.events import Progress, Quiet


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
        return slice_archive.examine(case, grid)
    scan = volumes.read(case.scan)
    prepared = prepare(scan, grid=grid, atlas=atlas.load(), skull=skull, device=device, progress=progress or Quiet())
    lesion, ignored = _marked(case, scan)
    brain = sitk.GetArrayFromImage(prepared.native_mask) > 0
    place = (prepared.volume, prepared.mask, prepared.grid)
    return Examined(case, *place, brain & ~ignored, lesion, scan.GetSpacing()[::-1], prepared)


def _marked(case: Case, scan: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Where lesion is and where nothing is judged, boolean (z, y, x) on the scan's grid; nowhere in a healthy scan."""
    if case.truth is None:
        nowhere = np.zeros(scan.GetSize()[::-1], bool)
        return nowhere, nowhere
    resampled = sitk.Resample(read_labels(case.truth), scan, sitk.Transform(), sitk.sitkNearestNeighbor)
    labels = sitk.GetArrayFromImage(resampled)
    ignored = np.isin(labels, case.ignored_labels)
    return is_lesion(case, labels) & ~ignored, ignored
