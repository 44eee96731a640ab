"""What is wrong with the files of a data folder: all of it at once, before anything takes long."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.geometry import is_thin
from conddiffusion_uad.io.scan_name import scan_name
from conddiffusion_uad.protocol.contrast_names import named_in
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data.anatomy import read_labels, tissue_labels
from conddiffusion_uad.training.data.datalist import Entry

HEAD_ML = (400.0, 9000.0)  # of what stands out of the background of a scan: a bare brain, or a head with its neck
LEAST_TISSUE_ML = 300.0  # of a label map
LOOK_MM = 4.0  # voxel size at which a scan is measured
_MOST_LISTED = 5  # files of one message
Key, Value = TypeVar("Key"), TypeVar("Value")


@dataclass(frozen=True)
class Problem:
    """Why a file cannot be used, or what should be known about it.

    Attributes:
        file: Which.
        message: One sentence.
        hint: What to do about it; may be empty.
        fatal: Whether it cannot be used; otherwise this is a note.
        cases: Of an evaluation, which it concerns.
    """

    file: Path
    message: str
    hint: str = ""
    fatal: bool = True
    cases: tuple[Any, ...] = ()


def fingerprint(entry: Entry) -> str:
    """Look at a file as far as that is quick, and return a hash of what it shows.

    Raises:
        BadInput: What :func:`volumes.read` raises; ``wrong_contrast`` or ``not_a_brain``.
    """
    return _check_labels(entry) if entry.source.kind == "labels" else _check_scan(entry)


def _check_scan(entry: Entry) -> str:
    named = named_in(scan_name(str(entry.file)))
    if named not in (None, entry.source.contrast):
        raise BadInput("wrong_contrast", f"Its name says {named}, the source {entry.source.contrast}.")
    scan = volumes.read(entry.file, thin=True)
    size = _head_ml(scan)
    if not HEAD_ML[0] <= size <= HEAD_ML[1] and not is_thin(scan):
        raise BadInput("not_a_brain", f"What it shows measures {size:.0f} ml: that is no brain and no head.")
    return hash_of(sitk.GetArrayViewFromImage(scan))


def _head_ml(scan: sitk.Image) -> float:
    small = sitk.BinShrink(scan, [max(1, int(LOOK_MM / spacing)) for spacing in scan.GetSpacing()])
    parts = sitk.ConnectedComponent(sitk.OtsuThreshold(small, 0, 1))
    largest = sitk.BinaryFillhole(sitk.RelabelComponent(parts, sortByObjectSize=True) == 1)
    return float(np.count_nonzero(sitk.GetArrayViewFromImage(largest)) * np.prod(small.GetSpacing()) / 1000)


def _check_labels(entry: Entry) -> str:
    labels = read_labels(entry.file)
    tissue_ml = np.count_nonzero(tissue_labels(labels)) * np.prod(labels.GetSpacing()) / 1000
    if tissue_ml < LEAST_TISSUE_ML:
        raise BadInput("no_brain", f"Its FreeSurfer labels mark only {tissue_ml:.0f} ml of brain.")
    return hash_of(sitk.GetArrayViewFromImage(labels))


def hash_of(values: np.ndarray) -> str:
    """SHA-256 of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def duplicates(fingerprints: Mapping[Path, str]) -> list[Problem]:
    """Files that show exactly what an earlier one does."""
    first: dict[str, Path] = {}
    return [
        Problem(file, f"It shows the same as {first[shown]}.")
        for file, shown in fingerprints.items()
        if first.setdefault(shown, file) != file
    ]


def inconsistent(found: Sequence[Sequence[Entry]]) -> list[Problem]:
    """Files that are listed twice for one source, or put into another split than an earlier one of their subject."""
    problems: list[Problem] = []
    splits: dict[str, str | None] = {}
    for entries in found:
        seen: set[Path] = set()
        for entry in entries:
            split = splits.setdefault(entry.subject, entry.split)
            if entry.file in seen:
                problems.append(Problem(entry.file, "It is listed twice."))
            elif split != entry.split:
                problems.append(Problem(entry.file, f"Its subject {entry.subject} is also in the split {split!r}."))
            seen.add(entry.file)
    return problems


def told(problems: Iterable[Problem]) -> list[str]:
    """Problems as lines of text for a person, those of one kind together."""
    lines = []
    for (message, hint), group in grouped(((p.message, p.hint), p) for p in problems).items():
        text = f"{message} {hint}".strip()
        if len(group) == 1:
            lines.append(f"  {group[0].file}: {text}")
            continue
        lines += [f"  {len(group)} files: {text}", *(f"    {problem.file}" for problem in group[:_MOST_LISTED])]
        if len(group) > _MOST_LISTED:
            lines.append(f"    and {len(group) - _MOST_LISTED} more")
    return lines


def failure(problems: Iterable[Problem], what: str) -> BadInput:
    """The failure ``bad_WHAT_data`` that tells all fatal problems."""
    fatal = [problem for problem in problems if problem.fatal]
    return BadInput(
        f"bad_{what}_data",
        f"These files cannot be used for the {what} ({len(fatal)}):",
        "Mend or remove them, or go on without them: --skip-bad.",
        told(fatal),
    )


def leave_out(problems: Sequence[Problem], what: str, log: Callable[[str], None], *, skip_bad: bool) -> None:
    """Tell what is left out, or raise the :func:`failure` unless that was asked for."""
    if problems and not skip_bad:
        raise failure(problems, what)
    for problem in problems:
        log(f"Leaving out {problem.file}: {problem.message}")


def grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """Values by their keys, in the order in which these appear."""
    groups: dict[Key, list[Value]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups
