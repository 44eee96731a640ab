"""Stands in for SimpleITK on a machine that has none, and to which its 53 MB may not travel.

Training on packed material imports modules that name it, and calls none of it; whoever does is told.
"""

from __future__ import annotations


class Image:
    """Of which there is none."""


class Transform:
    """Of which there is none."""


def __getattr__(name: str) -> int:
    if name.startswith("sitk"):  # constants, which are defaults of functions
        return 0
    raise AttributeError(f"this needs SimpleITK, which is not installed: {name}")
