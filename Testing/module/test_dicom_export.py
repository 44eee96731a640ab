"""Exporting a DICOM SEG goes through Slicer's own plug-in, which is given what it asks for."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from mrml_application import MrmlApplication
from standin.application import Application

INSTANCES = "1.2.3 1.2.4"


@pytest.fixture
def live(app: Application, mrml: MrmlApplication, scan: Any, tmp_path: Path) -> Any:
    """Findings of a scan that came from DICOM, made from a heatmap with one ball."""
    from CondDiffusionUADLib.run.DetectionOutput import DetectionOutput
    from CondDiffusionUADLib.run.ResultFiles import ResultVolumes
    from CondDiffusionUADLib.scene.Components import linkComponents
    from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
    from CondDiffusionUADLib.scene.Nodes import voxels
    from CondDiffusionUADLib.scene.Scene import addDetection

    scan.SetAttribute("DICOM.instanceUIDs", INSTANCES)

    def like_the_scan(values: np.ndarray) -> Any:
        from vtk.util import numpy_support

        node, image = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkOrientedImageData()
        image.SetDimensions(scan.GetImageData().GetDimensions())
        image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(values.ravel(), deep=True))
        node.SetAndObserveImageData(image)
        node.CopyOrientation(scan)
        return node

    score = np.zeros(voxels(scan).shape, np.float32)
    score[10:14, 10:14, 10:14] = 3.0
    volumes = ResultVolumes(like_the_scan(score), like_the_scan(score), linkComponents(score, 1.0))
    output = DetectionOutput(tmp_path, (), 2.0, 0.05, "T1", "small", "1.2.3", "{}")
    nodes = addDetection(mrml.scene, mrml.logics, scan, output, volumes)
    return LiveFindings.fromScene(mrml.logics.segmentations, nodes, volumes.components)


class Plugin:
    """As much of Slicer's plug-in as shows what it was given."""

    failure = ""
    known = True

    def examineForExport(self, item: int) -> list[Any]:  # noqa: N802 (Slicer's name)
        """An exportable, when the images that the segmentation refers to are known."""
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        segmentation = hierarchy.GetItemDataNode(item)
        assert segmentation.IsA("vtkMRMLSegmentationNode")
        assert hierarchy.GetItemAttribute(item, "DICOM.ReferencedInstanceUIDs") == INSTANCES
        reference = segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())
        assert reference.GetAttribute("DICOM.instanceUIDs") == INSTANCES
        return [types.SimpleNamespace(directory="", item=item)] if self.known else []

    def export(self, exportables: list[Any]) -> str:
        """Write a file, or say why not."""
        for exportable in exportables:
            (Path(exportable.directory) / "seg.dcm").write_bytes(b"DICM")
        return self.failure


def plug_in(monkeypatch: pytest.MonkeyPatch, **attributes: Any) -> None:
    module = types.ModuleType("DICOMSegmentationPlugin")
    module.DICOMSegmentationPluginClass = type("Plugin", (Plugin,), attributes)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "DICOMSegmentationPlugin", module)


def test_the_plug_in_writes_with_the_scan_as_reference(
    live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CondDiffusionUADLib.scene.Export import writeDicomSegmentation

    plug_in(monkeypatch)
    writeDicomSegmentation(live, tmp_path)
    assert (tmp_path / "seg.dcm").is_file()


def test_what_does_not_work_is_told(live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from CondDiffusionUADLib.run.Problems import ProblemError
    from CondDiffusionUADLib.scene.Export import writeDicomSegmentation

    with pytest.raises(ProblemError, match="QuantitativeReporting"):
        writeDicomSegmentation(live, tmp_path)
    plug_in(monkeypatch, known=False)
    with pytest.raises(ProblemError, match="not in the database"):
        writeDicomSegmentation(live, tmp_path)
    plug_in(monkeypatch, failure="No terminology.")
    with pytest.raises(ProblemError, match="No terminology"):
        writeDicomSegmentation(live, tmp_path)
    live.decide(1, "rejected")
    with pytest.raises(ProblemError, match="nothing to export"):
        writeDicomSegmentation(live, tmp_path)
