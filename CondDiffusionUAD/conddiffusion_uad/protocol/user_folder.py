"""The folder of this user in which the project keeps what lasts. Standard library only, for Slicer to ask too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NAME = "CondDiffusionUAD"


def user_folder() -> Path | None:
    """The folder, which may not exist; None for a user without a home folder."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base) / _NAME if base else None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / _NAME
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / _NAME
