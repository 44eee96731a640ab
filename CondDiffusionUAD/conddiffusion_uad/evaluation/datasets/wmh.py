"""WMH Segmentation Challenge 2017: white-matter hyperintensities of the elderly (Kuijf et al. 2019).

``training/Utrecht/0/``, ``training/Amsterdam/GE3T/100/`` and so on, ``test`` alike, each with ``wmh.nii.gz`` and, with
the bias field corrected and T1 registered to FLAIR, ``pre/{T1,FLAIR}.nii.gz``. Label 1 is the hyperintensities. What is
under label 2, other pathology, is not judged at all, as in the challenge: a rough mask of strokes and the like is
neither what was to be found nor healthy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from conddiffusion_uad.evaluation.cases import Case
from conddiffusion_uad.evaluation.datasets.layout import Layout, holds, image

HYPERINTENSITIES, OTHER_PATHOLOGY = (1,), (2,)
_SPLITS = ("training", "test")
_DEEPEST = 4  # folders above a patient's: the challenge's, its split, hospital and scanner


def _matches(folder: Path) -> bool:
    return any(holds(folder, "*/" * depth + "pre/FLAIR.nii*") for depth in range(1, _DEEPEST + 1)) and any(
        holds(folder, "*/" * depth + "wmh.nii*") for depth in range(1, _DEEPEST + 1)
    )


def _cases(folder: Path) -> Iterator[Case]:
    scans = (path.parent for path in folder.glob("**/pre/FLAIR.nii*"))
    for place in sorted({path.parent for path in folder.glob("**/wmh.nii*")} | {pre.parent for pre in scans}):
        patient = _patient(place.relative_to(folder).parts) or place.name
        for contrast in ("T1", "FLAIR"):
            yield Case(
                patient,
                "WMH 2017",
                contrast,
                image(place / "pre", contrast),
                image(place, "wmh"),
                lesion_labels=HYPERINTENSITIES,
                ignored_labels=OTHER_PATHOLOGY,
            )


def _patient(parts: Sequence[str]) -> str:
    """Hospital, scanner and number: the folders below the one of the split."""
    start = max((index + 1 for index, part in enumerate(parts) if part in _SPLITS), default=0)
    return "-".join(parts[start:])


LAYOUT = Layout("wmh", _matches, _cases)
