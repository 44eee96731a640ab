"""ATLAS v2.0, strokes in T1 (Liew et al. 2022), in BIDS.

``Training/R001/sub-r001s001/ses-1/anat/sub-r001s001_ses-1_space-MNI152NLin2009aSym_T1w.nii.gz``, beside it
``..._label-L_desc-T1lesion_mask.nii.gz``. ``Testing`` has been published without lesion masks and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from conddiffusion_uad.evaluation.cases import Case
from conddiffusion_uad.evaluation.datasets.layout import Layout, holds

_SCAN, _TRUTH = "_T1w", "_label-L_desc-T1lesion_mask"
_FILES = f"sub-r*/ses-*/anat/*{_TRUTH}.nii*"


def _matches(folder: Path) -> bool:
    return holds(folder, _FILES, f"*/{_FILES}", f"*/*/{_FILES}", f"*/*/*/{_FILES}")


def _cases(folder: Path) -> Iterator[Case]:
    for scan in sorted(folder.glob(f"**/sub-r*/ses-*/anat/*{_SCAN}.nii*")):
        if "Testing" not in scan.relative_to(folder).parts:
            patient = scan.name.partition("_")[0]
            yield Case(patient, "ATLAS v2.0", "T1", scan, scan.with_name(scan.name.replace(_SCAN, _TRUTH)))


LAYOUT = Layout("atlas2", _matches, _cases)
