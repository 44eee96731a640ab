"""What is wrong with an archive of slices."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence

import numpy as np

from conddiffusion_uad.evaluation.cases import Case, is_lesion
from conddiffusion_uad.evaluation.checks.problem import Problem
from conddiffusion_uad.evaluation.single_slices import check
from conddiffusion_uad.protocol.failures import BadInput


def archive_problems(cases: Sequence[Case]) -> list[Problem]:
    """Look at an archive, the cases of which are given, at least one."""
    file, every = cases[0].scan, tuple(cases)
    try:
        check(file)
        with np.load(file) as stored:
            images, masks = stored["image"], stored["mask"] if cases[0].truth else None
    except BadInput as error:
        return [Problem(file, error.message, error.hint, True, every)]
    except zipfile.BadZipFile:
        return [Problem(file, "It is cut off or damaged.", "Copy or export the file again.", True, every)]
    if masks is not None and masks.shape != images.shape:
        return [Problem(file, "Its `mask` has another shape than its `image`.", "", True, every)]
    return [*_empty(cases, masks), *_twice(cases, images)]


def _empty(cases: Sequence[Case], masks: np.ndarray | None) -> Iterator[Problem]:
    if masks is None:
        return
    empty = tuple(case for case in cases if not is_lesion(case, masks[case.index]).any())
    if empty:
        message = f"{len(empty)} of its slices have no lesion, and count as slices without."
        yield Problem(cases[0].scan, message, "", False, empty)


def _twice(cases: Sequence[Case], images: np.ndarray) -> Iterator[Problem]:
    first: dict[bytes, Case] = {}
    for case in cases:
        earlier = first.setdefault(images[case.index].tobytes(), case)
        if earlier is not case:
            message = f"Its slice {case.index} is the same as slice {earlier.index}."
            yield Problem(case.scan, message, "Leave one of them out.", True, (case,))
