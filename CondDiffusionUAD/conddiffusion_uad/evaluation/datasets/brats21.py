"""BraTS 2021, training data: ``BraTS2021_00000/BraTS2021_00000_{t1,t1ce,t2,flair,seg}.nii.gz``, a folder a patient.

Lesion is the whole tumor: necrosis (1), edema (2) and enhancing tumor (4).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from conddiffusion_uad.evaluation.cases import Case
from conddiffusion_uad.evaluation.datasets.layout import Layout, holds, image
from conddiffusion_uad.protocol.job import CONTRASTS

WHOLE_TUMOR = (1, 2, 4)
_PATIENT = re.compile(r"BraTS2021_\d+")


def _matches(folder: Path) -> bool:
    return holds(folder, "BraTS2021_*/BraTS2021_*_seg.nii*", "*/BraTS2021_*/BraTS2021_*_seg.nii*")


def _cases(folder: Path) -> Iterator[Case]:
    for place in sorted(folder.glob("**/BraTS2021_*/")):
        if not (place.is_dir() and _PATIENT.fullmatch(place.name)):
            continue
        truth = image(place, f"{place.name}_seg")
        for contrast in CONTRASTS:
            scan = image(place, f"{place.name}_{contrast.lower()}")
            yield Case(place.name, "BraTS 2021", contrast, scan, truth, lesion_labels=WHOLE_TUMOR)


LAYOUT = Layout("brats21", _matches, _cases)
