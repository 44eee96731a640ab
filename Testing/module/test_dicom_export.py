"""A DICOM SEG object, from findings to the file, read back: one segment for each finding, exactly its voxels."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from dicom_export import Database, make_module, run_dcmqi, write_series
from mrml_application import MrmlApplication, load_volume
from standin.application import Application

SHAPE = (20, 24, 28)  # z, y, x
BOXES = ((slice(10, 14), slice(10, 14), slice(10, 14)), (slice(3, 6), slice(3, 6), slice(18, 21)))


@pytest.fixture
def live(app: Application, mrml: MrmlApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Findings of a scan that came from DICOM, made from a heatmap with two boxes."""
    from CondDiffusionUADLib.run.DetectionOutput import ResultVolumes
    from CondDiffusionUADLib.scene.Components import linkComponents
    from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
    from CondDiffusionUADLib.scene.Scene import addDetection

    image = sitk.GetImageFromArray(np.random.default_rng(1).integers(1, 500, SHAPE).astype(np.int16))
    image.SetSpacing((1.0, 1.0, 2.0))
    image.SetOrigin((-12.0, 30.0, 5.0))
    write_series(image, tmp_path / "series")
    database = Database(tmp_path / "series")
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    monkeypatch.setitem(sys.modules, "DICOMSegmentationPlugin", make_module())
    mrml.terminologies.SetMRMLScene(mrml.scene)
    sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
    scan = load_volume(mrml, tmp_path / "scan.nrrd", "scan T2")
    scan.SetAttribute("DICOM.instanceUIDs", " ".join(database.instances))
    score = np.full(SHAPE, 0.5, np.float32)
    for box, value in zip(BOXES, (3.5, 3.0), strict=True):
        score[box] = value

    def like_the_scan(values: np.ndarray) -> Any:
        from vtk.util import numpy_support

        node, image = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkOrientedImageData()
        image.SetDimensions(SHAPE[::-1])
        image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(values.ravel(), deep=True))
        node.SetAndObserveImageData(image)
        node.CopyOrientation(scan)
        return node

    volumes = ResultVolumes(like_the_scan(score), like_the_scan(score), linkComponents(score, 1.0))
    fields = {"threshold": 2.0, "minVolumeMl": 0.0, "contrast": "T2", "bundle": "small", "version": "1.2.3"}
    overview = tmp_path / "overview.png"
    overview.write_bytes(b"a picture")
    output = types.SimpleNamespace(folder=tmp_path, report="{}", overview=overview, **fields)
    nodes = addDetection(mrml.scene, mrml.logics, scan, output, volumes)
    return LiveFindings.fromScene(mrml.logics.segmentations, nodes, volumes.components)


def read_back(folder: Path, scratch: Path) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    """The voxels (z, y, x) and the description of each segment of the one file, as dcmqi reads it."""
    (file,) = folder.glob("*.dcm")
    scratch.mkdir()
    run_dcmqi("segimage2itkimage", {"--inputDICOM": file, "--outputDirectory": scratch})
    meta = json.loads((scratch / "meta.json").read_text())
    paths = sorted(scratch.glob("*.nrrd"), key=lambda path: int(path.stem.split("-")[-1]))
    scan = sitk.ReadImage(str(folder.parent / "scan.nrrd"))
    placed = [
        sitk.Resample(sitk.ReadImage(str(path)), scan, sitk.Transform(), sitk.sitkNearestNeighbor) for path in paths
    ]
    return [sitk.GetArrayFromImage(image) > 0 for image in placed], [
        segment[0] for segment in meta["segmentAttributes"]
    ]


def test_each_finding_is_a_segment_with_exactly_its_voxels(live: Any, tmp_path: Path) -> None:
    from CondDiffusionUADLib.scene.Export import writeDicomSegmentation

    (tmp_path / "out").mkdir()
    live.decide(1, "accepted")
    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    writeDicomSegmentation(live, tmp_path / "out")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == before
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationDisplayNode") == before
    voxels, described = read_back(tmp_path / "out", tmp_path / "back")
    assert [segment["SegmentLabel"] for segment in described] == ["Candidate 1, accepted", "Candidate 2, not judged"]
    for found, box in zip(voxels, BOXES, strict=True):
        expected = np.zeros(SHAPE, bool)
        expected[box] = True
        np.testing.assert_array_equal(found, expected)
    assert {segment["SegmentAlgorithmType"] for segment in described} == {"AUTOMATIC"}
    assert {segment["SegmentAlgorithmName"] for segment in described} == {"CondDiffusionUAD 1.2.3 (small)"}
    kinds = {segment["SegmentedPropertyTypeCodeSequence"]["CodeMeaning"] for segment in described}
    assert kinds == {"Lesion"}
    assert slicer.dicomDatabase.inserted


def test_only_accepted_ones_when_those_are_wanted(live: Any, tmp_path: Path) -> None:
    from CondDiffusionUADLib.run.Problems import ProblemError
    from CondDiffusionUADLib.scene.Export import writeDicomSegmentation

    (tmp_path / "out").mkdir()
    with pytest.raises(ProblemError, match="nothing to export"):
        writeDicomSegmentation(live, tmp_path / "out", "accepted")
    live.decide(2, "accepted")
    writeDicomSegmentation(live, tmp_path / "out", "accepted")
    voxels, _described = read_back(tmp_path / "out", tmp_path / "back")
    assert len(voxels) == 1 and voxels[0][BOXES[1]].all()


def test_slicers_own_dicom_export_of_the_live_segmentation_works_too(live: Any, tmp_path: Path) -> None:
    """By a right-click in the Data module, which knows nothing of the panel."""
    from CondDiffusionUADLib.scene.Nodes import itemOf

    (tmp_path / "out").mkdir()
    plugin = sys.modules["DICOMSegmentationPlugin"].DICOMSegmentationPluginClass()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    (exportable,) = plugin.examineForExport(itemOf(hierarchy, live.nodes.segmentation))
    exportable.directory = str(tmp_path / "out")
    assert plugin.export([exportable]) == ""
    voxels, _described = read_back(tmp_path / "out", tmp_path / "back")
    assert sum(int(found.sum()) for found in voxels) == sum(np.zeros(SHAPE)[box].size for box in BOXES)


def test_what_does_not_work_is_told(live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from CondDiffusionUADLib.run.Problems import ProblemError
    from CondDiffusionUADLib.scene.Export import writeDicomSegmentation

    monkeypatch.setattr(slicer.dicomDatabase, "_files", {})
    with pytest.raises(ProblemError, match="not in the database"):
        writeDicomSegmentation(live, tmp_path)
    monkeypatch.setattr(sys.modules["DICOMSegmentationPlugin"].DICOMSegmentationPluginClass, "export", lambda *_: "No.")
    monkeypatch.setattr(slicer.dicomDatabase, "fileForInstance", lambda uid: "somewhere")
    with pytest.raises(ProblemError, match=r"written: No\."):
        writeDicomSegmentation(live, tmp_path)
    monkeypatch.setitem(sys.modules, "DICOMSegmentationPlugin", None)
    with pytest.raises(ProblemError, match="QuantitativeReporting"):
        writeDicomSegmentation(live, tmp_path)
    for number in (1, 2):
        live.decide(number, "rejected")
    with pytest.raises(ProblemError, match="nothing to export"):
        writeDicomSegmentation(live, tmp_path)
    live.nodes.input.RemoveAttribute("DICOM.instanceUIDs")
    with pytest.raises(ProblemError, match="not loaded from DICOM"):
        writeDicomSegmentation(live, tmp_path)
