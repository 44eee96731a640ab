"""What a case is: one way to store the scan, and what is right for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import made_up_scans as made
import numpy as np
from made_up_scans import LPS, SIZE, VOXELS, series
from pydicom import Dataset

Make = Callable[[Path], Path]
READ, TOLD, REFUSED, ASKED = "read", "read, told", "refused", "refused unless --accept-any-scan"


@dataclass(frozen=True)
class Stored:
    """One way to store the scan.

    Attributes:
        group: Heading in the document.
        way: What is special, as a phrase.
        make: Writes it into an empty folder and returns its path.
        outcome: READ, TOLD (there is a warning), REFUSED, or ASKED (refused; read and told when accepted).
        code: Of the warning or the failure.
        says: What its sentence or hint must hold.
        options: Of `Reading`, with which the refused scan is read.
        affine: LPS, that the scan has when it is read.
        values: That the scan has when it is read.
    """

    group: str
    way: str
    make: Make
    outcome: str = READ
    code: str = ""
    says: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    affine: np.ndarray = field(default_factory=lambda: LPS)
    values: np.ndarray = field(default_factory=lambda: VOXELS)


CASES: list[Stored] = []


def adder(group: str) -> Callable[..., None]:
    """What adds a case to a group of them; its arguments are those of `Stored`, from `way` on."""

    def add(way: str, make: Make, outcome: str = READ, code: str = "", says: str = "", **rest: Any) -> None:
        CASES.append(Stored(group, way, make, outcome, code, says, **rest))

    return add


def cut(path: Path, share: float = 0.5) -> Path:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


def touched(path: Path) -> Path:
    path.touch()
    return path


def without(path: Path, other: str) -> Path:
    (path.parent / other).unlink()
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def tag(**values: Any) -> made.Change:
    """Sets elements of every image; None leaves one out."""

    def change(image: Dataset, k: int) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(image, keyword)
            else:
                setattr(image, keyword, value)

    return change


def shifted(change: Callable[[Dataset, int], None], slices: Any = range(SIZE[2])) -> Make:
    return lambda d: series(d / "s", change, slices)
