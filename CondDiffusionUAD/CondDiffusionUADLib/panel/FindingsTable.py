"""The findings as a table node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import vtk

from CondDiffusionUADLib.run.DetectionOutput import Finding

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
)


def setFindings(tableNode: Any, findings: Iterable[Finding]) -> None:
    """Replace the rows of the table."""
    rows = [(f.number, f.volumeMl, f.peakScore, f.meanScore, *f.centerRas, f.status) for f in findings]
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
