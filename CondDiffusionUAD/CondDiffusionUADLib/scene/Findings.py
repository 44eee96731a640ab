"""The findings of a detection: what is known of each, which voxels are theirs, and the table of them in the scene."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk

from CondDiffusionUADLib.scene.Decisions import OPEN, Voxel

# Column, unit, type.
_COLUMNS = (
    ("Number", "", vtk.vtkIntArray),
    ("Volume", "ml", vtk.vtkDoubleArray),
    ("Peak score", "-log10 p", vtk.vtkDoubleArray),
    ("Mean score", "-log10 p", vtk.vtkDoubleArray),
    ("Center R", "mm", vtk.vtkDoubleArray),
    ("Center A", "mm", vtk.vtkDoubleArray),
    ("Center S", "mm", vtk.vtkDoubleArray),
    ("Status", "", vtk.vtkStringArray),
    ("Side", "", vtk.vtkStringArray),
    ("Slice", "", vtk.vtkIntArray),
    ("Segment", "", vtk.vtkStringArray),
)


@dataclass(frozen=True)
class Finding:
    """One region above the threshold, or drawn by hand.

    Attributes:
        number: From 1 on, in descending order of volume times mean score; what was drawn only comes last.
        volumeMl: Volume, ml.
        peakScore: Highest anomaly score.
        meanScore: Mean anomaly score.
        centerRas: The voxel nearest to the centroid, (R, A, S) in mm, where the views show it.
        status: What a person decided, one of `Decisions.STATUSES`.
        peak: The voxel (z, y, x) with the highest score: by it a finding is known while others come and go.
        side: "right", "left" or "middle" of the brain, in the patient.
        slice: Number of the slice, from 1 on, that the center lies in, in the order of the volume.
        segment: Name of the user's own segment that this is; empty for what the module writes. Cannot be decided about.
        edited: Whether a hand changed it.
    """

    number: int
    volumeMl: float
    peakScore: float
    meanScore: float
    centerRas: tuple[float, float, float]
    status: str = OPEN
    peak: Voxel = (0, 0, 0)
    side: str = ""
    slice: int = 0
    segment: str = ""
    edited: bool = False


@dataclass(frozen=True)
class Selection:
    """The findings at one threshold and smallest volume.

    Attributes:
        findings: Most important first, also those that were rejected.
        indices: Voxel indices (z, y, x) of all of them together, shape (3, n).
        numbers: For each of these voxels the number of its finding, 0 for those of regions that are too small.
    """

    findings: tuple[Finding, ...]
    indices: np.ndarray
    numbers: np.ndarray

    def mask(self, numbers: Iterable[int]) -> tuple[np.ndarray, Voxel]:
        """uint8, axes (z, y, x), 1 inside of these findings, the box that holds them; and the box's first voxel."""
        wanted = np.zeros(len(self.findings) + 1, bool)
        wanted[list(numbers)] = True
        wanted[0] = False
        inside = self.indices[:, np.flatnonzero(wanted[self.numbers])]
        if not inside.size:
            return np.zeros((1, 1, 1), np.uint8), (0, 0, 0)
        low = inside.min(axis=1)
        mask = np.zeros(inside.max(axis=1) - low + 1, np.uint8)
        mask[tuple(inside - low[:, None])] = 1
        return mask, (int(low[0]), int(low[1]), int(low[2]))

    def labels(self, shape: tuple[int, ...], numbers: Iterable[int]) -> np.ndarray:
        """The number of the finding of each voxel of a volume, uint16, axes (z, y, x); 0 outside of these findings."""
        shown = np.zeros(len(self.findings) + 1, np.uint16)
        shown[list(numbers)] = list(numbers)
        result = np.zeros(shape, np.uint16)
        result[tuple(self.indices)] = shown[self.numbers]
        return result

    def find(self, voxel: Voxel) -> Finding | None:
        """The finding with this peak, else the one that holds this voxel; None when there is none."""
        for finding in self.findings:
            if finding.peak == voxel and not finding.segment:
                return finding
        here = np.flatnonzero((self.indices == np.reshape(voxel, (3, 1))).all(axis=0))
        number = int(self.numbers[here[0]]) if here.size else 0
        return self.findings[number - 1] if number else None


def setFindings(tableNode: Any, findings: Iterable[Finding]) -> None:
    """Replace the rows of the table."""
    rows = [
        (f.number, f.volumeMl, f.peakScore, f.meanScore, *f.centerRas, f.status, f.side, f.slice, f.segment)
        for f in findings
    ]
    tableNode.RemoveAllColumns()
    for index, (title, unit, arrayType) in enumerate(_COLUMNS):
        column = arrayType()
        column.SetName(title)
        for row in rows:
            column.InsertNextValue(row[index])
        tableNode.AddColumn(column)
        tableNode.SetColumnUnitLabel(title, unit)
    tableNode.SetUseColumnTitleAsColumnHeader(True)
    tableNode.SetLocked(True)
