"""What an adapter to a folder layout is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conddiffusion_uad.evaluation.cases import Case


@dataclass(frozen=True)
class Layout:
    """How the files of a data set lie in its folder.

    Attributes:
        name: By which it is asked for.
        matches: Whether a folder looks like it at first sight.
        cases: All scans in a folder.
    """

    name: str
    matches: Callable[[Path], bool]
    cases: Callable[[Path], Iterator[Case]]


def holds(folder: Path, *patterns: str) -> bool:
    """Whether a folder holds something that one of the patterns finds."""
    return any(next(folder.glob(pattern), None) for pattern in patterns)


def image(folder: Path, name: str) -> Path:
    """The NIfTI file of a name, which the publisher has compressed and somebody may have unpacked."""
    unpacked = folder / f"{name}.nii"
    return unpacked if unpacked.is_file() else folder / f"{name}.nii.gz"
