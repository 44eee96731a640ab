"""How a scan is called: by its file or folder."""

from __future__ import annotations

import os
from pathlib import Path

_SUFFIXES = (
    *(".nii.gz", ".nii.bz2", ".nii", ".img.gz", ".hdr.gz", ".img", ".hdr"),
    *(".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".ima"),
)


def scan_name(path: str) -> str:
    """The name of a scan's file or folder without the suffixes of the formats that are read."""
    name = Path(os.path.abspath(path)).name
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name or "scan"
