"""Writes results to files that other programs read."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from conddiffusion_uad.protocol.failures import RESEARCH_USE
from CondDiffusionUADLib.run.Problems import Problem, ProblemError
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.SubjectHierarchy import itemOf

COLUMNS = (
    "number",
    "volume_ml",
    "peak_score",
    "mean_score",
    "centre_r_mm",
    "centre_a_mm",
    "centre_s_mm",
    "status",
)


def writeSegmentation(live: LiveFindings, path: Path) -> None:
    """Write the findings that were not rejected.

    Args:
        live: The findings.
        path: Ending in .nii or .nii.gz, a label map with the numbers of the findings; ending in .nrrd, Slicer's
            segmentation with name, color and terminology.

    Raises:
        ProblemError: It cannot be written.
    """
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        _write(slicer.vtkMRMLVolumeArchetypeStorageNode(), _numberedLabels(live), path)
    elif name.endswith(".nrrd"):
        _write(slicer.vtkMRMLSegmentationStorageNode(), live.nodes.segmentation, path)
    else:
        message = _("A segmentation cannot be written as {name}.").format(name=path.name)
        raise ProblemError(Problem("bad_format", message, _("Choose a name that ends in .nii.gz or .nrrd.")))


def writeFindings(live: LiveFindings, path: Path) -> None:
    """Write the table as CSV, with what was decided. Raises ProblemError."""

    with _telling(path), path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for finding in live.selection.findings if live.selection else ():
            numbers = (finding.volumeMl, finding.peakScore, finding.meanScore, *finding.centerRas)
            writer.writerow((finding.number, *(round(value, 4) for value in numbers), finding.status))


def writeReport(live: LiveFindings, path: Path) -> None:
    """Write the report of the run as JSON, with what was changed since: threshold, smallest volume, decisions.

    Raises:
        ProblemError: The report was deleted from the scene, or cannot be written.
    """
    node = live.nodes.report
    try:
        report = json.loads(node.GetText()) if node is not None else None
    except ValueError:
        report = None
    if report is None:
        message = _("The report of this result is no longer in the scene.")
        raise ProblemError(Problem("no_report", message, _("Detect again.")))
    findings = live.selection.findings if live.selection else ()
    report["statement"] = RESEARCH_USE
    report["reviewed"] = {
        "threshold": round(live.threshold, 4),
        "healthy_flagged": float(f"{10**-live.threshold:.4g}"),
        "min_volume_ml": live.minVolumeMl,
        "findings": [
            {
                "number": finding.number,
                "volume_ml": round(finding.volumeMl, 4),
                "peak_score": round(finding.peakScore, 3),
                "centre_ras_mm": [round(value, 2) for value in finding.centerRas],
                "status": finding.status,
            }
            for finding in findings
        ],
    }
    with _telling(path):
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def writeDicomSegmentation(live: LiveFindings, folder: Path) -> None:
    """Write a DICOM SEG object with Slicer's own exporter.

    Args:
        live: The findings.
        folder: An existing folder.

    Raises:
        ProblemError: The scan did not come from DICOM, Slicer has no exporter, or it fails.
    """
    segmentation, scan = live.nodes.segmentation, live.nodes.input
    if scan is None or not scan.GetAttribute("DICOM.instanceUIDs"):
        message = _("The scan was not loaded from DICOM, and a DICOM segmentation has to refer to DICOM images.")
        raise ProblemError(Problem("not_dicom", message, _("Export as NIfTI or NRRD, or load the scan from DICOM.")))
    if not live.selection or not live.selection.mask.any():
        raise ProblemError(Problem("nothing_found", _("There is nothing to export."), _("Lower the threshold.")))
    try:
        import DICOMSegmentationPlugin
    except ImportError as error:
        message = _("This Slicer cannot write DICOM segmentations.")
        hint = _("Install the extension QuantitativeReporting, or use a Slicer from 5.12 on.")
        raise ProblemError(Problem("no_dicom_plugin", message, hint)) from error
    exporter = DICOMSegmentationPlugin.DICOMSegmentationPluginClass()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(segmentation.GetScene())
    exportables = exporter.examineForExport(itemOf(hierarchy, segmentation))
    for exportable in exportables:
        exportable.directory = str(folder)
    failure = exporter.export(exportables) if exportables else _("the DICOM images of the scan are not in the database")
    if failure:
        message = _("The DICOM segmentation could not be written: {reason}.").format(reason=str(failure).rstrip("."))
        raise ProblemError(Problem("dicom_failed", message, _("Is the scan in Slicer's DICOM database?")))


def _numberedLabels(live: LiveFindings) -> Any:
    """A label map volume, in no scene, with the numbers of the findings."""
    heatmap = live.nodes.heatmap
    numbers = live.numbers()
    image = vtk.vtkImageData()
    image.SetDimensions(heatmap.GetImageData().GetDimensions())
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(numbers.ravel(), deep=True))
    labels = slicer.vtkMRMLLabelMapVolumeNode()
    labels.CopyOrientation(heatmap)
    labels.SetAndObserveImageData(image)
    return labels


def _write(storage: Any, node: Any, path: Path) -> None:
    storage.SetFileName(str(path))
    storage.SetUseCompression(True)
    if not storage.WriteData(node) or not path.is_file():
        raise ProblemError(_unwritable(path))


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ProblemError(_unwritable(path, error.strerror or "")) from error


def _unwritable(path: Path, reason: str = "") -> Problem:
    because = f": {reason}" if reason else ""
    message = _("{name} cannot be written{because}.").format(name=path.name, because=because)
    return Problem("cannot_write", message, _("Choose another folder, or free some space."))
