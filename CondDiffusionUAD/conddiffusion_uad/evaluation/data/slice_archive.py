"""Archives of single slices, ``.npz`` with ``image`` (slices, y, x), and ``mask`` of this shape if there are lesions.

``id`` may name the patients. All that the evaluation knows of this format stands here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from skimage.transform import rescale

from conddiffusion_uad.evaluation.data.cases import Case, Examined, Problem, is_lesion
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.protocol.contrast_names import named_in
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.calibration import THICK
from conddiffusion_uad.training.data.data_checks import fingerprint
from conddiffusion_uad.training.data.datalist import Entry
from conddiffusion_uad.training.data.prepared import fit_to, normalized_slice
from conddiffusion_uad.training.recipe import Source

SUFFIX = ".npz"
SPACING = 1.0  # mm, of the slices in an archive


def cases(archive: Path) -> Iterator[Case]:
    """A case for each slice of an archive whose name says a contrast; one for an archive that cannot be read."""
    contrast = named_in(archive.stem)
    if contrast is None:
        return
    try:
        with np.load(archive) as stored:
            count, labeled = len(stored["image"]), "mask" in stored
            names = [str(name) for name in stored["id"]] if "id" in stored else []
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        count, labeled, names = 1, False, []  # the checks say what is wrong with it
    for index in range(count):
        patient = names[index] if index < len(names) else f"{archive.stem}[{index}]"
        yield Case(patient, archive.stem, contrast, archive, archive if labeled else None, index)


def subjects(archive: Path) -> list[tuple[int, str]]:
    """Index and name of each slice that has a name."""
    with np.load(archive) as stored:
        return list(enumerate(map(str, stored["id"].tolist()))) if "id" in stored else []


def examine(case: Case, grid: Grid) -> Examined:
    """A slice as a stack of equal ones: so a thick slice looks on the model's grid."""
    scale = SPACING / grid.spacing[0]
    stored = _arrays(case.scan)
    image = stored["image"][case.index].astype(np.float32)
    truth = is_lesion(case, stored["mask"][case.index]) if case.truth else np.zeros(image.shape, bool)
    single = normalized_slice(image, scale, grid)
    lesion = fit_to(rescale(truth.astype(np.float32), scale, order=1, anti_aliasing=True), grid) > 0.5
    volume = np.repeat(single[None], THICK, axis=0)
    return Examined(case, volume, volume > 0, None, single[None] > 0, lesion[None], grid.spacing[::-1], None)


@lru_cache(maxsize=1)
def _arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive, unpacked once for its many slices."""
    with np.load(path) as stored:
        return dict(stored)


def problems(cases: Sequence[Case]) -> list[Problem]:
    """What is wrong with an archive, the cases of which are given, at least one."""
    file, every = cases[0].scan, tuple(cases)
    source = Source("slices", file.name, weight=1.0, held_out=0, contrast=cases[0].contrast)
    try:
        fingerprint(Entry(file, source, file.name))
        with np.load(file) as stored:
            images, masks = stored["image"], stored["mask"] if cases[0].truth else None
    except BadInput as error:
        return [Problem(file, error.message, error.hint, True, every)]
    except zipfile.BadZipFile:
        return [Problem(file, "It is cut off or damaged.", "Copy or export the file again.", True, every)]
    if masks is not None and masks.shape != images.shape:
        return [Problem(file, "Its `mask` has another shape than its `image`.", "", True, every)]
    return [*_empty(cases, masks), *_repeated(cases, images)]


def _empty(cases: Sequence[Case], masks: np.ndarray | None) -> Iterator[Problem]:
    if masks is None:
        return
    empty = tuple(case for case in cases if not is_lesion(case, masks[case.index]).any())
    if empty:
        message = f"{len(empty)} of its slices have no lesion, and count as slices without."
        yield Problem(cases[0].scan, message, "", False, empty)


def _repeated(cases: Sequence[Case], images: np.ndarray) -> Iterator[Problem]:
    first: dict[bytes, Case] = {}
    for case in cases:
        earlier = first.setdefault(images[case.index].tobytes(), case)
        if earlier is not case:
            message = f"Its slice {case.index} is the same as slice {earlier.index}."
            yield Problem(case.scan, message, "Leave one of them out.", True, (case,))
