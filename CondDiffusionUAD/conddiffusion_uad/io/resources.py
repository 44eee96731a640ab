"""Where the shipped files are: beside the module once installed, at the top of the project in a checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def resources() -> Path:
    """The folder Resources with Atlas, Models and SampleData.

    Raises:
        FileNotFoundError: The installation is incomplete.
    """
    for parent in Path(__file__).resolve().parents[2:5]:
        if (parent / "Resources" / "Atlas").is_dir():
            return parent / "Resources"
    raise FileNotFoundError("The folder Resources is missing from this installation of CondDiffusionUAD.")
