"""Which contrast a name tells: of a file, a DICOM series or a volume. Standard library only, for Slicer to ask too."""

from __future__ import annotations

import re

# Contrast agent, diffusion, and maps: their intensities are not those of a T1, T2 or FLAIR scan.
_OTHERS = re.compile(r"(?<![a-z])(gad|gd|post|contrast|ce|map|dwi|adc|swi|perf)(?![a-z])", re.IGNORECASE)
_NAMES = {
    "FLAIR": re.compile(r"flair|dark[ -]?fluid", re.IGNORECASE),
    "T1": re.compile(r"(?<![a-z0-9])t1w?(?![a-z0-9])|mp[ -]?rage|bravo|spgr", re.IGNORECASE),
    "T2": re.compile(r"(?<![a-z0-9])t2w?(?![a-z0-9*])(?![ -]?(star|gre))", re.IGNORECASE),
}


def named_in(text: str) -> str | None:
    """The contrast a text names, or None; a T2-weighted FLAIR is a FLAIR; "T1 to T2" and "T1 post" name none."""
    if _OTHERS.search(text.replace("_", " ")):
        return None
    named = [contrast for contrast, pattern in _NAMES.items() if pattern.search(text.replace("_", " "))]
    if named == ["FLAIR", "T2"]:
        return "FLAIR"
    return named[0] if len(named) == 1 else None
