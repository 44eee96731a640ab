"""Where the module's files are: in a checkout as well as installed. Standard library only."""

from __future__ import annotations

from pathlib import Path


def moduleFolder() -> Path:
    """The folder that holds this library and the engine; a Python with it on its path can run the engine."""
    return Path(__file__).resolve().parents[2]


def resource(relative: str) -> Path:
    """A file or folder in Resources: beside the module once installed, at the top of the project in a checkout.

    Raises:
        FileNotFoundError: The installation is incomplete.
    """
    for parent in (moduleFolder(), moduleFolder().parent):
        path = parent / "Resources" / relative
        if path.exists():
            return path
    raise FileNotFoundError(f"Resources/{relative} is missing from this installation of CondDiffusionUAD.")
