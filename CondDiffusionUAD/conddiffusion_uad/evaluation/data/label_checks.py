"""What is wrong with a label map, and how it fits its scans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.evaluation.data.cases import Case, is_lesion
from conddiffusion_uad.evaluation.data.image_files import inside, points, same_grid
from conddiffusion_uad.io.volume import Grid, read_grid
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data.anatomy import read_labels
from conddiffusion_uad.training.data.data_checks import Problem

MOST_LESION_ML = 1000.0  # more than that is a brain, not what is wrong with it
_CUT = 0.01  # share of a lesion outside of the scan that is told


def label_problems(cases: Sequence[Case], grids: Mapping[Path, Grid]) -> list[Problem]:
    """Look at the label map of cases that share it, and its meaning."""
    truth = cases[0].truth
    try:
        read_grid(truth)
        labels = read_labels(truth)
    except (BadInput, OSError, RuntimeError) as error:
        message = error.message if isinstance(error, BadInput) else "It cannot be read as a label map."
        return [Problem(truth, message, "Copy or export the file again.", True, tuple(cases))]
    values = sitk.GetArrayViewFromImage(labels)
    marked = np.flatnonzero(values)
    found = values.ravel()[marked]
    lesion = is_lesion(cases[0], found) & ~np.isin(found, cases[0].ignored_labels)
    places = np.stack(np.unravel_index(marked[lesion], values.shape)[::-1])
    return [
        *_of_values(cases, np.unique(found).tolist(), lesion, float(np.prod(labels.GetSpacing())) / 1000),
        *_of_places(cases, Grid.of(labels), places, grids),
    ]


def _of_values(cases: Sequence[Case], values: Sequence[int], lesion: np.ndarray, voxel_ml: float) -> Iterator[Problem]:
    case, every = cases[0], tuple(cases)
    file, size = case.truth, lesion.sum() * voxel_ml
    if not lesion.any():
        message = "No voxel of it is lesion: its scan counts as one without lesion."
        yield Problem(file, message, "Check that this patient has none.", False, every)
    if size > MOST_LESION_ML:
        message = f"It marks {size:.0f} ml as lesion: that is a brain."
        yield Problem(file, message, "Take the label map of the lesion, or say which labels are lesion.", True, every)
    if case.lesion_labels is None:
        counted = [value for value in values if value not in case.ignored_labels]
        if len(counted) > 1:
            message = f"It has the labels {_listed(counted)}: all of them count as lesion."
            yield Problem(file, message, "A datalist can say which do: lesion_labels.", False, every)
    elif other := [value for value in values if value not in (*case.lesion_labels, *case.ignored_labels)]:
        message = f"Its labels {_listed(other)} do not count as lesion; {_listed(case.lesion_labels)} do."
        yield Problem(file, message, "", False, every)


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _of_places(cases: Sequence[Case], own: Grid, indices: np.ndarray, grids: Mapping[Path, Grid]) -> Iterator[Problem]:
    """How a label map fits the scans, from its grid and the voxels (3, n), x first, that are lesion."""
    for case in cases:
        grid = grids[case.scan]
        if same_grid(own, grid):
            continue
        message = f"It is on another grid than its {case.contrast} scan, and is resampled there: nearest neighbor."
        yield Problem(case.truth, message, "", False, (case,))
        outside = 1 - inside(grid, points(own, indices)).mean() if indices.size else 0.0
        if outside == 1:
            hint = "Give it the place in space of the scan that it was drawn on."
            yield Problem(case.truth, f"Its lesion lies outside of its {case.contrast} scan.", hint, True, (case,))
        elif outside > _CUT:
            message = f"{outside:.0%} of its lesion lies outside of its {case.contrast} scan, and is not judged."
            yield Problem(case.truth, message, "", False, (case,))
