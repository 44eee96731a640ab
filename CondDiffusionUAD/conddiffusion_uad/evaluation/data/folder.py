"""Any folder: scans with their contrast as the end of their name, label maps beside them.

- ``patient/flair.nii.gz`` and ``patient/seg.nii.gz``, or ``p01_flair.nii.gz`` and ``p01_seg.nii.gz`` or
  ``p01_flair_seg.nii.gz``, in upper or lower case, with ``-`` for ``_``, ``t1w`` for ``t1``, and any of :data:`LABELS`
  for ``seg``.
- In a folder of scans, or of patients' folders, where no scan has a label map, all are healthy. Where some have one,
  the others lack it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from conddiffusion_uad.evaluation.data.cases import Case
from conddiffusion_uad.io.scan_name import scan_name
from conddiffusion_uad.training.data.datalist import subject_in

LABELS = ("seg", "segmentation", "label", "labels", "lesion", "lesions", "lesion_mask", "mask")
_SURE_LABELS = LABELS[:-1]  # a mask without a scan may be one of the brain
_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
_SCAN = re.compile(r"(?:(?P<prefix>.+)[_-])?(?P<contrast>t1|t2|flair)w?", re.IGNORECASE)
_LABEL = re.compile(rf"(?:(?P<prefix>.+?)[_-])?(?:{'|'.join(_SURE_LABELS)})", re.IGNORECASE)


@dataclass(frozen=True)
class _Scan:
    file: Path
    prefix: str
    contrast: str
    truth: Path | None

    @property
    def alone(self) -> bool:
        """Whether it lies in a folder of its patient, rather than among scans of others."""
        return self.prefix.lower() in ("", self.file.parent.name.lower())

    @property
    def group(self) -> Path:
        """The folder that the scans of all patients lie in, or their folders."""
        return self.file.parents[1] if self.alone else self.file.parent

    @property
    def patient(self) -> str:
        return subject_in(self.file.name) or (self.file.parent.name if self.alone else self.prefix)


def cases(folder: Path) -> Iterator[Case]:
    """All cases in a folder and below it; hidden files are left out."""
    files = [file for file in sorted(folder.rglob("*")) if not _hidden(file.relative_to(folder))]
    by_place: dict[Path, dict[str, Path]] = defaultdict(dict)
    for file in files:
        if file.name.lower().endswith(_SUFFIXES):
            by_place[file.parent].setdefault(scan_name(str(file)).lower(), file)
    scans = [scan for images in by_place.values() for scan in _scans(images)]
    labeled = {scan.group for scan in scans if scan.truth}
    for scan in scans:
        truth = scan.truth or (_expected(scan) if scan.group in labeled else None)
        yield Case(scan.patient, scan.group.name, scan.contrast, scan.file, truth)
    used = {scan.truth for scan in scans}
    for images in by_place.values():
        yield from _without_scan({name: file for name, file in images.items() if file not in used})


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _scans(images: Mapping[str, Path]) -> Iterator[_Scan]:
    """The scans among the images of a folder, by their names in lower case, with their label maps."""
    for file in images.values():
        if named := _SCAN.fullmatch(scan_name(str(file))):
            prefix = named["prefix"] or ""
            whole = scan_name(str(file)).lower()
            starts = [f"{start}{sign}" for start in (whole, prefix.lower()) if start for sign in "_-"]
            starts += [] if prefix else [""]
            names = (start + label for label in LABELS for start in starts)
            truth = next((images[name] for name in names if name in images), None)
            yield _Scan(file, prefix, named["contrast"].upper(), truth)


def _expected(scan: _Scan) -> Path:
    return scan.file.with_name(f"{scan.prefix}_seg.nii.gz" if scan.prefix else "seg.nii.gz")


def _without_scan(images: Mapping[str, Path]) -> Iterator[Case]:
    """Label maps that no scan lies beside, as cases of unknown contrast that lack their scan."""
    for file in images.values():
        if named := _LABEL.fullmatch(scan_name(str(file))):
            prefix = named["prefix"]
            scan = file.with_name(f"{prefix}_flair.nii.gz" if prefix else "flair.nii.gz")
            yield Case(prefix or file.parent.name, file.parent.name, "", scan, file)
