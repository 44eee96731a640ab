"""Which contrast a scan has: as the user says, or as its DICOM tags or its file name say; never guessed from pixels."""

from __future__ import annotations

import re
from pathlib import Path

import SimpleITK as sitk

from conddiffusion_uad.detection.output import scan_name
from conddiffusion_uad.dicom_folder import PROTOCOL_NAME, SERIES_DESCRIPTION
from conddiffusion_uad.protocol import CONTRASTS, BadInput

# Contrast agent, diffusion, and maps: their intensities are not those of a T1, T2 or FLAIR scan.
_OTHERS = re.compile(r"(?<![a-z])(gad|gd|post|contrast|ce|map|dwi|adc|swi|perf)(?![a-z])", re.IGNORECASE)
_NAMES = {
    "FLAIR": re.compile(r"flair|dark[ -]?fluid", re.IGNORECASE),
    "T1": re.compile(r"(?<![a-z0-9])t1w?(?![a-z0-9])|mp[ -]?rage|bravo|spgr", re.IGNORECASE),
    "T2": re.compile(r"(?<![a-z0-9])t2w?(?![a-z0-9*])(?![ -]?(star|gre))", re.IGNORECASE),
}


def choose(asked: str, path: str, scan: sitk.Image) -> str:
    """The contrast of a scan.

    Args:
        asked: "auto" or a contrast, which is then believed.
        path: Where the scan was read from.
        scan: The scan, with its DICOM descriptions as metadata if it has any.

    Raises:
        BadInput: "contrast_unknown" when neither says it, or says two.
    """
    if asked != "auto":
        return asked
    told = (scan.GetMetaData(tag) for tag in (SERIES_DESCRIPTION, PROTOCOL_NAME) if scan.HasMetaDataKey(tag))
    for text in (*told, scan_name(path)):
        if contrast := named_in(text):
            return contrast
    raise BadInput(
        "contrast_unknown",
        f"Neither the scan nor its file name says which contrast {Path(path).name} has.",
        f"Say it with --contrast {'|'.join(CONTRASTS)}.",
    )


def named_in(text: str) -> str | None:
    """The contrast a text names, or None; a T2-weighted FLAIR is a FLAIR; "T1 to T2" and "T1 post" name none."""
    if _OTHERS.search(text.replace("_", " ")):
        return None
    named = [contrast for contrast, pattern in _NAMES.items() if pattern.search(text.replace("_", " "))]
    if named == ["FLAIR", "T2"]:
        return "FLAIR"
    return named[0] if len(named) == 1 else None
