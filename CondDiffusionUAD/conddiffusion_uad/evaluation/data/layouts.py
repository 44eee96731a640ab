"""Published data sets, as their publishers lay out the files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from conddiffusion_uad.evaluation.data import folder as any_folder
from conddiffusion_uad.evaluation.data.cases import Case
from conddiffusion_uad.protocol.job import CONTRASTS

WHOLE_TUMOR = (1, 2, 4)  # BraTS: necrosis, edema and enhancing tumor
HYPERINTENSITIES, OTHER_PATHOLOGY = (1,), (2,)  # WMH 2017
_IXI = re.compile(r"(?P<patient>IXI\d+)-\w+-\d+-(?P<contrast>T1|T2)\.nii(\.gz)?")
_ATLAS_SCAN, _ATLAS_TRUTH = "_T1w", "_label-L_desc-T1lesion_mask"
_ATLAS_FILES = f"sub-r*/ses-*/anat/*{_ATLAS_TRUTH}.nii*"
_MSLUB_SCANS = {"T1": "T1W", "T2": "T2W", "FLAIR": "FLAIR"}
_MSLUB_TRUTH = "consensus_gt"
_WMH_SPLITS = ("training", "test")
_WMH_DEPTHS = range(1, 5)  # folders above a scan's: the challenge's, its split, hospital and scanner


@dataclass(frozen=True)
class Layout:
    """How the files of a data set lie in its folder.

    Attributes:
        name: By which it is asked for.
        matches: Whether a folder looks like it at first sight.
        cases: All scans in a folder.
    """

    name: str
    matches: Callable[[Path], bool]
    cases: Callable[[Path], Iterator[Case]]


def _holding(*patterns: str) -> Callable[[Path], bool]:
    """Whether a folder holds something that one of the patterns finds."""
    return lambda folder: any(next(folder.glob(pattern), None) for pattern in patterns)


def _image(folder: Path, name: str) -> Path:
    """The NIfTI file of a name, which the publisher has compressed and somebody may have unpacked."""
    unpacked = folder / f"{name}.nii"
    return unpacked if unpacked.is_file() else folder / f"{name}.nii.gz"


def _ixi(folder: Path) -> Iterator[Case]:
    """Healthy adults (brain-development.org): ``IXI002-Guys-0828-T1.nii.gz``, a tar file for each contrast."""
    for file in sorted(folder.glob("**/IXI*-T[12].nii*")):
        if named := _IXI.fullmatch(file.name):
            yield Case(named["patient"], "IXI", named["contrast"], file)


def _brats21(folder: Path) -> Iterator[Case]:
    """BraTS 2021: ``BraTS2021_00000/BraTS2021_00000_{t1,t1ce,t2,flair,seg}.nii.gz``; lesion is the whole tumor."""
    for place in sorted(folder.glob("**/BraTS2021_*/")):
        if place.is_dir() and re.fullmatch(r"BraTS2021_\d+", place.name):
            truth = _image(place, f"{place.name}_seg")
            for contrast in CONTRASTS:
                scan = _image(place, f"{place.name}_{contrast.lower()}")
                yield Case(place.name, "BraTS 2021", contrast, scan, truth, lesion_labels=WHOLE_TUMOR)


def _mslub(folder: Path) -> Iterator[Case]:
    """30 patients with multiple sclerosis (Lesjak et al. 2017), as published and as in ``open_ms_data``.

    Published: ``patient01/patient01_{T1W,T1WKS,T2W,FLAIR,consensus_gt,brainmask}.nii.gz``, scans registered to FLAIR.
    The copy on GitHub has ``coregistered/patient01/FLAIR.nii.gz`` and so on. Whatever lies in ``raw`` is left out: the
    lesion map does not fit it.
    """
    for place in sorted(folder.glob("**/patient*/")):
        parts = place.relative_to(folder).parts
        if not (place.is_dir() and re.fullmatch(r"patient\d+", place.name)) or "raw" in parts:
            continue
        for prefix in (f"{place.name}_", ""):
            truth = _image(place, prefix + _MSLUB_TRUTH)
            scans = {contrast: _image(place, prefix + name) for contrast, name in _MSLUB_SCANS.items()}
            if truth.is_file() or any(scan.is_file() for scan in scans.values()):
                yield from (Case(place.name, "MSLUB", contrast, scan, truth) for contrast, scan in scans.items())
                break


def _atlas2(folder: Path) -> Iterator[Case]:
    """ATLAS v2.0, strokes in T1 (Liew et al. 2022), in BIDS.

    ``Training/R001/sub-r001s001/ses-1/anat/sub-r001s001_ses-1_space-MNI152NLin2009aSym_T1w.nii.gz``, beside it
    ``..._label-L_desc-T1lesion_mask.nii.gz``. ``Testing`` has been published without lesion masks and is left out.
    """
    for scan in sorted(folder.glob(f"**/sub-r*/ses-*/anat/*{_ATLAS_SCAN}.nii*")):
        if "Testing" not in scan.relative_to(folder).parts:
            truth = scan.with_name(scan.name.replace(_ATLAS_SCAN, _ATLAS_TRUTH))
            yield Case(scan.name.partition("_")[0], "ATLAS v2.0", "T1", scan, truth)


def _wmh(folder: Path) -> Iterator[Case]:
    """WMH Segmentation Challenge 2017: white-matter hyperintensities of the elderly (Kuijf et al. 2019).

    ``training/Utrecht/0/``, ``test/Amsterdam/GE3T/100/`` and so on, each with ``wmh.nii.gz`` and, with the bias field
    corrected and T1 registered to FLAIR, ``pre/{T1,FLAIR}.nii.gz``. What is under label 2, other pathology, is not
    judged at all, as in the challenge: a rough mask of strokes is neither what was to be found nor healthy tissue.
    """
    scans = (path.parents[1] for path in folder.glob("**/pre/FLAIR.nii*"))
    for place in sorted({*(path.parent for path in folder.glob("**/wmh.nii*")), *scans}):
        parts = place.relative_to(folder).parts
        start = max((index + 1 for index, part in enumerate(parts) if part in _WMH_SPLITS), default=0)
        patient = "-".join(parts[start:]) or place.name  # hospital, scanner and number
        for contrast in ("T1", "FLAIR"):
            files = _image(place / "pre", contrast), _image(place, "wmh")
            labels = {"lesion_labels": HYPERINTENSITIES, "ignored_labels": OTHER_PATHOLOGY}
            yield Case(patient, "WMH 2017", contrast, *files, **labels)


def _is_wmh(folder: Path) -> bool:
    patterns = (["*/" * depth + name for depth in _WMH_DEPTHS] for name in ("pre/FLAIR.nii*", "wmh.nii*"))
    return all(_holding(*names)(folder) for names in patterns)


def _below(pattern: str, most: int) -> list[str]:
    """A pattern in a folder, and in those up to so many levels below it."""
    return ["*/" * depth + pattern for depth in range(most + 1)]


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("ixi", _holding("IXI*-T[12].nii*", "IXI-T[12]/IXI*-T[12].nii*"), _ixi),
        Layout("brats21", _holding(*_below("BraTS2021_*/BraTS2021_*_seg.nii*", 1)), _brats21),
        Layout("mslub", _holding(*_below(f"patient*/*{_MSLUB_TRUTH}.nii*", 2)), _mslub),
        Layout("atlas2", _holding(*_below(_ATLAS_FILES, 3)), _atlas2),
        Layout("wmh", _is_wmh, _wmh),
        Layout("folder", Path.is_dir, any_folder.cases),
    )
}
"""By name. The first that matches a folder is taken; a folder of any kind always matches."""
