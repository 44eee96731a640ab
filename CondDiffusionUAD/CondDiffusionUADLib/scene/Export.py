"""Writes results to files that other programs read: all of them from the segmentation as it stands."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from conddiffusion_uad.protocol.failures import RESEARCH_USE
from CondDiffusionUADLib.run.Problems import Problem, ProblemError
from CondDiffusionUADLib.scene.Decisions import ACCEPTED, STATUSES
from CondDiffusionUADLib.scene.Findings import Finding
from CondDiffusionUADLib.scene.LiveFindings import NOT_REJECTED, LiveFindings
from CondDiffusionUADLib.scene.Nodes import itemOf, nameDicomSource

FILTERS = {"accepted": (ACCEPTED,), "notRejected": NOT_REJECTED, "all": STATUSES}
"""Which findings are exported, by the name of the choice."""

COLUMNS = (
    "number",
    "volume_ml",
    "peak_score",
    "mean_score",
    "centre_r_mm",
    "centre_a_mm",
    "centre_s_mm",
    "status",
    "side",
    "slice",
    "segment",
    "edited",
)


def writeSegmentation(live: LiveFindings, path: Path, which: str = "notRejected") -> None:
    """Write findings as a segmentation.

    Args:
        live: The findings.
        path: Ending in .nii or .nii.gz, a label map with the numbers of the findings; ending in .nrrd, Slicer's
            segmentation with one segment for each finding, with name, color and terminology.
        which: One of `FILTERS`.

    Raises:
        ProblemError: It cannot be written.
    """
    live.refresh()
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        _write(slicer.vtkMRMLVolumeArchetypeStorageNode(), _numberedLabels(live, FILTERS[which]), path)
    elif name.endswith(".nrrd"):
        with _temporarySegmentation(live, FILTERS[which], path.name) as node:
            _write(slicer.vtkMRMLSegmentationStorageNode(), node, path)
    else:
        message = _("A segmentation cannot be written as {name}.").format(name=path.name)
        raise ProblemError(Problem("bad_format", message, _("Choose a name that ends in .nii.gz or .nrrd.")))


def writeFindings(live: LiveFindings, path: Path, which: str = "all") -> None:
    """Write the table as CSV, with what was decided; the places are those that the views show. Raises ProblemError."""
    live.refresh()
    with _telling(path), path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for finding in live.chosen(FILTERS[which]):
            numbers = (finding.volumeMl, finding.peakScore, finding.meanScore, *finding.centerRas)
            texts = (finding.status, finding.side, finding.slice, finding.segment, "yes" if finding.edited else "")
            writer.writerow((finding.number, *(round(value, 4) for value in numbers), *texts))


def writeReport(live: LiveFindings, path: Path) -> None:
    """Write the report of the run as JSON, with what was changed since: threshold, smallest volume, decisions, edits.

    Raises:
        ProblemError: The report was deleted from the scene, or cannot be written.
    """
    live.refresh()
    node = live.nodes.report
    try:
        report = json.loads(node.GetText()) if node is not None else None
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict):
        message = _("The report of this result is no longer in the scene.")
        raise ProblemError(Problem("no_report", message, _("Detect again.")))
    report["statement"] = RESEARCH_USE
    report["reviewed"] = {
        "threshold": round(live.threshold, 4),
        "healthy_flagged": float(f"{10**-live.threshold:.4g}"),
        "min_volume_ml": live.minVolumeMl,
        "edited_by_hand": live.edited,
        "findings": [_reviewed(finding) for finding in live.selection.findings],
    }
    with _telling(path):
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def writeOverview(page: bytes, path: Path) -> None:
    """Write the page (PNG) with pictures of a result. Raises ProblemError."""
    with _telling(path):
        path.write_bytes(page)


def writeDicomSegmentation(live: LiveFindings, folder: Path, which: str = "notRejected") -> None:
    """Write a DICOM SEG object with Slicer's own exporter, one segment for each finding.

    Args:
        live: The findings.
        folder: An existing folder.
        which: One of `FILTERS`.

    Raises:
        ProblemError: The scan did not come from DICOM, Slicer has no exporter, or it fails.
    """
    live.refresh()
    scan = live.nodes.input
    if scan is None or not scan.GetAttribute("DICOM.instanceUIDs"):
        message = _("The scan was not loaded from DICOM, and a DICOM segmentation has to refer to DICOM images.")
        raise ProblemError(Problem("not_dicom", message, _("Export as NIfTI or NRRD, or load the scan from DICOM.")))
    if not live.chosen(FILTERS[which]):
        hint = _("Accept findings, export others too, or lower the threshold.")
        raise ProblemError(Problem("nothing_found", _("There is nothing to export."), hint))
    try:
        import DICOMSegmentationPlugin
    except ImportError as error:
        message = _("This Slicer cannot write DICOM segmentations.")
        hint = _("Install the extension QuantitativeReporting, or use a Slicer from 5.12 on.")
        raise ProblemError(Problem("no_dicom_plugin", message, hint)) from error
    exporter = DICOMSegmentationPlugin.DICOMSegmentationPluginClass()
    with _temporarySegmentation(live, FILTERS[which], live.nodes.segmentation.GetName()) as segmentation:
        scene = segmentation.GetScene()
        nameDicomSource(scene, segmentation, scan)
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        exportables = exporter.examineForExport(itemOf(hierarchy, segmentation))
        for exportable in exportables:
            exportable.directory = str(folder)
        missing = _("the DICOM images of the scan are not in the database")
        failure = exporter.export(exportables) if exportables else missing
    if failure:
        message = _("The DICOM segmentation could not be written: {reason}.").format(reason=str(failure).rstrip("."))
        raise ProblemError(Problem("dicom_failed", message, _("Is the scan in Slicer's DICOM database?")))


def _reviewed(finding: Finding) -> dict[str, Any]:
    return {
        "number": finding.number,
        "volume_ml": round(finding.volumeMl, 4),
        "peak_score": round(finding.peakScore, 3),
        "centre_ras_mm": [round(value, 2) for value in finding.centerRas],
        "status": finding.status,
        "segment": finding.segment,
        "edited_by_hand": finding.edited,
    }


@contextmanager
def _temporarySegmentation(live: LiveFindings, statuses: Iterable[str], name: str) -> Iterator[Any]:
    """A segmentation node with one segment for each finding, for the time of the block."""
    node = live.segmentationOf(statuses, name)
    try:
        yield node
    finally:
        scene, display = node.GetScene(), node.GetDisplayNode()
        scene.RemoveNode(node)
        if display is not None and display.GetScene() is scene:
            scene.RemoveNode(display)


def _numberedLabels(live: LiveFindings, statuses: Iterable[str]) -> Any:
    """A label map volume, in no scene, with the numbers of the findings."""
    heatmap = live.nodes.heatmap
    numbers = live.numbers(statuses)
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
