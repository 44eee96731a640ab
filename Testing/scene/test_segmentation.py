"""The segmentation of the candidate anomalies, its terminology, and the findings table."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import slicer
import vtk
from mrml_application import MrmlApplication, load_volume
from vtk.util import numpy_support

from CondDiffusionUADLib.run.DetectionOutput import readDetectionOutput
from CondDiffusionUADLib.run.Folders import resource
from CondDiffusionUADLib.scene.CandidateSegmentation import (
    CANDIDATE_ANOMALY,
    CONTEXT_NAME,
    OPEN_COLOR,
    SEGMENT_ID,
    Piece,
    loadTerminology,
    writePieces,
)
from CondDiffusionUADLib.scene.Findings import setFindings
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import DetectionNodes
from CondDiffusionUADLib.scene.Scene import addDetection


def segment_voxels(mrml: MrmlApplication, nodes: DetectionNodes) -> np.ndarray:
    """The segment on the grid of the input, as Slicer itself exports it; axes (z, y, x)."""
    labelmap = slicer.vtkMRMLLabelMapVolumeNode()
    mrml.scene.AddNode(labelmap)
    ids = vtk.vtkStringArray()
    ids.InsertNextValue(SEGMENT_ID)
    assert mrml.logics.segmentations.ExportSegmentsToLabelmapNode(nodes.segmentation, ids, labelmap, nodes.input)
    image = labelmap.GetImageData()
    array = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    exported = array.reshape(image.GetDimensions()[::-1]).copy()
    mrml.scene.RemoveNode(labelmap)
    return exported > 0


def test_segment_holds_exactly_the_labeled_voxels(mrml: MrmlApplication, any_case: Any) -> None:
    scan = load_volume(mrml, any_case.scan, "scan")
    nodes = addDetection(mrml.scene, mrml.logics, scan, readDetectionOutput(any_case.folder))
    assert any_case.labels.max() == 2
    np.testing.assert_array_equal(segment_voxels(mrml, nodes), any_case.labels > 0)


def test_voxels_are_replaced_also_by_none(mrml: MrmlApplication, case: Any, nodes: DetectionNodes) -> None:
    for mask in (case.labels == 2, np.zeros_like(case.labels), np.ones_like(case.labels), case.labels == 1):
        piece = Piece(SEGMENT_ID, "Candidate anomaly", OPEN_COLOR, mask)
        writePieces(mrml.logics.segmentations, nodes.segmentation, nodes.input, [piece], "software")
        if mask.any():
            np.testing.assert_array_equal(segment_voxels(mrml, nodes), mask > 0)
        else:
            segment = nodes.segmentation.GetSegmentation().GetSegment(SEGMENT_ID)
            assert segment.GetRepresentation("Binary labelmap").GetScalarRange()[1] == 0
    assert nodes.segmentation.GetSegmentation().GetNumberOfSegments() == 1


def test_reference_geometry_is_the_input(nodes: DetectionNodes) -> None:
    role = nodes.segmentation.GetReferenceImageGeometryReferenceRole()
    assert nodes.segmentation.GetNodeReference(role) is nodes.input
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    assert nodes.segmentation.GetSegmentation().GetConversionParameter(name)


def test_dicom_will_say_that_software_drew_the_segment(nodes: DetectionNodes) -> None:
    segment = nodes.segmentation.GetSegmentation().GetSegment(SEGMENT_ID)
    value = vtk.reference("")
    assert segment.GetTag("DICOM.SegmentAlgorithmType", value) and value.get() == "AUTOMATIC"
    assert segment.GetTag("DICOM.SegmentAlgorithmName", value) and value.get() == "CondDiffusionUAD 1.2.3 (starter)"
    assert "lesion" not in segment.GetName().lower()


def test_terminology_of_the_segment_is_in_the_shipped_file(mrml: MrmlApplication, nodes: DetectionNodes) -> None:
    segment = nodes.segmentation.GetSegmentation().GetSegment(SEGMENT_ID)
    assert segment.GetTerminology() == CANDIDATE_ANOMALY
    file = json.loads(resource("Terminologies/CondDiffusionUAD.term.json").read_text(encoding="utf-8"))
    (category,) = file["SegmentationCodes"]["Category"]
    (kind,) = category["Type"]
    (modifier,) = kind["Modifier"]
    keys = ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")
    codes = ["^".join(code[key] for key in keys) for code in (category, kind, modifier)]
    assert CANDIDATE_ANOMALY.split("~")[:4] == [file["SegmentationCategoryTypeContextName"], *codes]
    np.testing.assert_allclose(np.array(segment.GetColor()) * 255, modifier["recommendedDisplayRGBValue"])


def test_slicer_reads_the_shipped_terminology(mrml: MrmlApplication) -> None:
    loadTerminology(mrml.terminologies)
    assert mrml.terminologies.IsTerminologyContextLoaded(CONTEXT_NAME)
    entry = slicer.vtkSlicerTerminologyEntry()
    assert mrml.terminologies.DeserializeTerminologyEntry(CANDIDATE_ANOMALY, entry)
    assert entry.GetTypeObject().GetCodeValue() == "52988006"
    assert entry.GetTypeModifierObject().GetCodeMeaning() == "Suspected"
    assert entry.GetRegionObject().GetCodeMeaning() == "Brain"


def test_outline_lets_the_heatmap_through(nodes: DetectionNodes) -> None:
    display = nodes.segmentation.GetDisplayNode()
    assert display.GetVisibility2DOutline()
    assert not display.GetVisibility2DFill()


def test_table_has_the_findings_with_units(nodes: DetectionNodes, case: Any) -> None:
    table = nodes.findings.GetTable()
    assert table.GetNumberOfRows() == 2
    row = [table.GetValue(0, column).ToDouble() for column in range(7)]
    np.testing.assert_allclose(row, case.rows[0], atol=0.01)  # as finely as the engine rounds
    assert table.GetValue(0, 7).ToString() == "open"
    assert nodes.findings.GetColumnUnitLabel("Volume") == "ml"


def test_table_is_replaced_also_by_nothing(nodes: DetectionNodes) -> None:
    setFindings(nodes.findings, [])
    assert nodes.findings.GetNumberOfRows() == 0
    assert nodes.findings.GetNumberOfColumns() == 11


def test_engine_and_slicer_agree_where_a_finding_is(nodes: DetectionNodes, case: Any) -> None:
    matrix = vtk.vtkMatrix4x4()
    nodes.heatmap.GetRASToIJKMatrix(matrix)
    for number, _ml, _peak, _mean, *center in case.rows:
        i, j, k, _ = matrix.MultiplyPoint((*center, 1.0))
        assert case.labels[round(k), round(j), round(i)] == number


def test_a_deleted_display_keeps_nobody_from_editing(mrml: MrmlApplication, nodes: DetectionNodes) -> None:
    live = LiveFindings.fromScene(mrml.logics.segmentations, nodes)
    mrml.scene.RemoveNode(nodes.segmentation.GetDisplayNode())
    live.show(2.25, 0.0)
    assert live.editableCopy().GetDisplayNode().GetVisibility()
    display = nodes.segmentation.GetDisplayNode()
    assert not display.GetVisibility() and display.GetVisibility2DOutline() and not display.GetVisibility2DFill()
