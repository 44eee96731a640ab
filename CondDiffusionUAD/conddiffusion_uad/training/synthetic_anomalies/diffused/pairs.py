"""Slices with lesions that somebody outlined, from a table of scans and their lesion maps.

The table is a CSV file with the columns ``scan`` and ``lesions`` (paths below the folder of the data; what is not 0 in
a lesion map is lesion) and, where scans do not tell it by their names, ``contrast``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import contrast as contrasts
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.geometry import is_thin
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.preparation import prepare
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import BadInput, Failure
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data.anatomy import read_labels
from conddiffusion_uad.training.data.crop import crop_to
from conddiffusion_uad.training.data.data_checks import Problem, leave_out
from conddiffusion_uad.training.weak_labels import rows_of

COLUMNS = ("scan", "lesions")
LEAST_PIXELS = 3  # of the lesions in a slice that is learned from


@dataclass(frozen=True)
class LesionSlice:
    """A slice with lesions.

    Attributes:
        image: float32 (y, x) in [0, 1] on the recipe's grid, 0 outside the brain.
        mask: Where lesions are, boolean, same shape.
        contrast: Position in ``protocol.job.CONTRASTS``.
        scan: Its file, as the table names it.
    """

    image: np.ndarray
    mask: np.ndarray
    contrast: int
    scan: str


def lesion_slices(
    table: Path, folder: Path, grid: Grid, log: Callable[[str], None], *, skip_bad: bool = False
) -> list[LesionSlice]:
    """All slices of a table that show lesions; of a thin volume the one that shows most of them.

    Args:
        table: The CSV file.
        folder: Of scans and lesion maps.
        grid: Of the recipe.
        log: Told how far it is, and what is left out.
        skip_bad: Whether to go on without lines that are wrong.

    Raises:
        BadInput: ``bad_labels`` when it is no such table; ``bad_training_data`` with a list of all that is wrong with
            its lines; ``no_lesions`` when nothing is left to learn from.
    """
    rows, problems = rows_of(table, COLUMNS), []
    for row in rows:
        for column in COLUMNS:
            if not (folder / (row[column] or "")).is_file():
                problems.append(Problem(folder / (row[column] or ""), "The table names it, and it is not there."))
    leave_out(problems, "training", log, skip_bad=skip_bad)
    missing = {problem.file for problem in problems}
    found: list[LesionSlice] = []
    problems = []
    for number, row in enumerate(rows, start=1):
        scan, lesions = (folder / (row[column] or "") for column in COLUMNS)
        if missing & {scan, lesions}:
            continue
        log(f"Preparing {scan.name} ({number} of {len(rows)})")
        try:
            found += _slices(folder, row, grid)
        except Failure as error:
            problems.append(Problem(scan, error.message, error.hint))
    leave_out(problems, "training", log, skip_bad=skip_bad)
    if not found:
        raise BadInput("no_lesions", f"No slice of the scans in {table} shows a lesion.", "Look at its lesion maps.")
    return found


def _slices(folder: Path, row: Mapping[str, str | None], grid: Grid) -> Sequence[LesionSlice]:
    name, asked = row["scan"] or "", (row.get("contrast") or "auto").strip()
    file, lesions = folder / name, folder / (row["lesions"] or "")
    if asked not in ("auto", *CONTRASTS):
        raise BadInput("bad_labels", f"Its contrast is {asked!r}.", f"It is one of {', '.join(CONTRASTS)}.")
    scan = volumes.read(file, thin=True)
    contrast = CONTRASTS.index(contrasts.choose(asked, str(file), scan))
    prepared = prepare(scan, grid=grid, atlas=atlas.load(), progress=Quiet())
    if not prepared.registration.ok:
        raise BadInput("not_a_brain", "It does not fit the atlas of the brain.", "Look at the scan.")
    labels = sitk.Cast(sitk.DICOMOrient(read_labels(lesions), "LPS") != 0, sitk.sitkFloat32)
    share = sitk.Resample(labels, grid.blank(), prepared.registration.to_atlas, sitk.sitkLinear, 0.0)
    volume, brain = (crop_to(values, prepared.grid, grid) for values in (prepared.volume, prepared.mask))
    mask = (sitk.GetArrayViewFromImage(share) >= 0.5) & brain
    areas = mask.sum(axis=(1, 2))
    shown = [int(areas.argmax())] if is_thin(scan) else np.flatnonzero(areas >= LEAST_PIXELS).tolist()
    image = np.where(brain, np.clip(volume, 1e-3, 1), 0).astype(np.float32)
    return [LesionSlice(image[z], mask[z], contrast, name) for z in shown if areas[z] >= LEAST_PIXELS]
