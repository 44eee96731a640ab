"""MSLUB, 30 patients with multiple sclerosis (Lesjak et al. 2017), as published and as in ``open_ms_data``.

Published: ``patient01/patient01_{T1W,T1WKS,T2W,FLAIR,consensus_gt,brainmask}.nii.gz``, scans registered to FLAIR, and
unregistered ones in ``patient01/raw/``. The copy on GitHub has ``coregistered/patient01/FLAIR.nii.gz`` and so on, and
``raw`` beside ``coregistered``. Whatever lies in ``raw`` is left out: the lesion map does not fit it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from conddiffusion_uad.evaluation.cases import Case
from conddiffusion_uad.evaluation.datasets.layout import Layout, holds, image

TRUTH = "consensus_gt"
_SCANS = {"T1": "T1W", "T2": "T2W", "FLAIR": "FLAIR"}
_PATIENT = re.compile(r"patient\d+")


def _matches(folder: Path) -> bool:
    return holds(folder, f"patient*/*{TRUTH}.nii*", f"*/patient*/*{TRUTH}.nii*", f"*/*/patient*/*{TRUTH}.nii*")


def _cases(folder: Path) -> Iterator[Case]:
    for place in sorted(folder.glob("**/patient*/")):
        parts = place.relative_to(folder).parts
        if not (place.is_dir() and _PATIENT.fullmatch(place.name)) or "raw" in parts:
            continue
        for prefix in (f"{place.name}_", ""):
            truth = image(place, prefix + TRUTH)
            scans = {contrast: image(place, prefix + name) for contrast, name in _SCANS.items()}
            if truth.is_file() or any(scan.is_file() for scan in scans.values()):
                yield from (Case(place.name, "MSLUB", contrast, scan, truth) for contrast, scan in scans.items())
                break


LAYOUT = Layout("mslub", _matches, _cases)
