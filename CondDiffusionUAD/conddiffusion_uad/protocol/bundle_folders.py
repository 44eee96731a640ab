"""Where imported model bundles lie, and what bundles are called now. Standard library only, for Slicer to ask too."""

from __future__ import annotations

import os
from pathlib import Path

from conddiffusion_uad.protocol.user_folder import user_folder

VARIABLE = "CONDDIFFUSION_UAD_MODELS"
"""Environment variable that names another folder for imported bundles."""


FORMER_NAMES = {"default": "residual"}
"""Shipped bundles under the names that scenes, reports and scripts of earlier versions have for them."""


def present_name(name: str) -> str:
    """What a bundle is called now; a name that was never changed, or a path, is returned as it is."""
    return FORMER_NAMES.get(name, name)


def imported_bundles() -> Path | None:
    """The folder of imported bundles, which may not exist; None for a user without a home folder."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    folder = user_folder()
    return None if folder is None else folder / "Models"
