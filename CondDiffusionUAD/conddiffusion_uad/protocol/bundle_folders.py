"""Where imported model bundles lie: in a folder of the user. Standard library only, for Slicer to ask too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "CONDDIFFUSION_UAD_MODELS"
"""Environment variable that names another folder for imported bundles."""

_NAME = "CondDiffusionUAD"


def imported_bundles() -> Path | None:
    """The folder of imported bundles, which may not exist; None for a user without a home folder."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base) / _NAME / "Models" if base else None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / _NAME / "Models"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / _NAME / "Models"
