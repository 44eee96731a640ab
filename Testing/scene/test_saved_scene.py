"""A saved scene, loaded again: everything is where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from mrml_application import MrmlApplication, create_mrml_application, load_scene, save_scene
from vtk.util import numpy_support

from CondDiffusionUADLib.scene.CandidateSegmentation import CANDIDATE_ANOMALY, SEGMENT_ID, labelmapOf, segmentIds
from CondDiffusionUADLib.scene.Colors import NUMBER_OF_COLORS, legendOf, setThreshold
from CondDiffusionUADLib.scene.Decisions import ACCEPTED
from CondDiffusionUADLib.scene.Heatmap import SCORE, SCORE_RANGE, thresholdOf
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections, voxels

ACCEPTED_ONES = 25


def scattered(shape: tuple[int, ...]) -> np.ndarray:
    """Scores with more small findings than are accepted, each apart from the others."""
    scores = np.full(shape, 0.6, np.float32)
    scores[2::6, 2::6, 2::6] = 2.5
    return scores


@pytest.fixture
def again(mrml: MrmlApplication, nodes: DetectionNodes, tmp_path: Path) -> MrmlApplication:
    """The scene of the case, with a parent transform and another threshold, after a round trip through a .mrb file."""
    transform = mrml.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    for node in (nodes.input, nodes.heatmap, nodes.reconstruction, nodes.segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())
    setThreshold(nodes.heatmap, 2.75)
    save_scene(mrml, tmp_path / "scene.mrb")
    temporary = tmp_path / "again"
    temporary.mkdir()
    loaded = create_mrml_application(temporary)
    load_scene(loaded, tmp_path / "scene.mrb")
    return loaded


@pytest.fixture
def loaded(again: MrmlApplication) -> DetectionNodes:
    """The detection in the scene that was loaded again."""
    (nodes,) = findDetections(again.scene)
    return nodes


def test_volumes_are_the_same(loaded: DetectionNodes, case: Any) -> None:
    np.testing.assert_array_equal(voxels(loaded.heatmap), case.score)
    ours, theirs = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    loaded.heatmap.GetIJKToRASMatrix(ours)
    loaded.input.GetIJKToRASMatrix(theirs)
    np.testing.assert_allclose(ours.GetData(), theirs.GetData(), atol=1e-9)


def test_transform_is_still_the_parent_of_all(loaded: DetectionNodes) -> None:
    for node in (loaded.input, loaded.heatmap, loaded.reconstruction, loaded.segmentation):
        assert node.GetParentTransformNode().GetName() == "registration"


def test_colors_and_threshold_are_kept(loaded: DetectionNodes) -> None:
    display = loaded.heatmap.GetDisplayNode()
    assert thresholdOf(loaded.heatmap) == 2.75
    assert display.GetApplyThreshold()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == SCORE_RANGE
    table = display.GetColorNode()
    assert table.GetNumberOfColors() == NUMBER_OF_COLORS
    for index in (0, 100, NUMBER_OF_COLORS - 1):
        shown = [0.0] * 4
        table.GetColor(index, shown)
        np.testing.assert_allclose(shown[:3], SCORE.color(index / (NUMBER_OF_COLORS - 1)), atol=1 / 255)


def test_legend_is_kept_with_its_scale(loaded: DetectionNodes) -> None:
    legend = legendOf(loaded.heatmap)
    assert legend.GetTitleText() == SCORE.title
    scale = legend.GetPrimaryDisplayNode()
    assert scale.IsA("vtkMRMLModelDisplayNode") and scale.GetScalarRange() == SCORE_RANGE
    assert scale.GetColorNode() is loaded.heatmap.GetDisplayNode().GetColorNode()


def test_segment_is_kept(loaded: DetectionNodes, case: Any) -> None:
    segmentation = loaded.segmentation.GetSegmentation()
    segment = segmentation.GetSegment(SEGMENT_ID)
    image = segment.GetRepresentation("Binary labelmap")
    histogram = np.bincount(np.frombuffer(image.GetPointData().GetScalars(), np.uint8))
    assert histogram[segment.GetLabelValue()] == (case.labels > 0).sum()
    assert segment.GetTerminology() == CANDIDATE_ANOMALY
    value = vtk.reference("")
    assert segment.GetTag("DICOM.SegmentAlgorithmType", value) and value.get() == "AUTOMATIC"
    role = loaded.segmentation.GetReferenceImageGeometryReferenceRole()
    assert loaded.segmentation.GetNodeReference(role) is loaded.input
    assert not loaded.segmentation.GetDisplayNode().GetVisibility2DFill()


def test_table_is_kept(loaded: DetectionNodes) -> None:
    table = loaded.findings.GetTable()
    assert table.GetNumberOfRows() == 2
    assert table.GetColumnByName("Volume").IsA("vtkDoubleArray")
    assert loaded.findings.GetColumnUnitLabel("Volume") == "ml"


def test_report_is_kept_and_is_long_enough_to_go_into_a_file_of_its_own(
    mrml: MrmlApplication, nodes: DetectionNodes, tmp_path: Path
) -> None:
    text = json.dumps({"statement": "gr\u00fc\u00dfe", "list": list(range(2000))}, indent=2) + "\n"
    nodes.report.SetText(text)
    save_scene(mrml, tmp_path / "scene.mrb")
    (tmp_path / "again").mkdir()
    again = create_mrml_application(tmp_path / "again")
    load_scene(again, tmp_path / "scene.mrb")
    assert json.loads(findDetections(again.scene)[0].report.GetText()) == json.loads(text)


def test_folder_is_kept(again: MrmlApplication, loaded: DetectionNodes) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(again.scene)
    results = (loaded.heatmap, loaded.segmentation, loaded.reconstruction, loaded.findings)
    folders = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in results}
    assert [hierarchy.GetItemName(folder) for folder in folders] == ["scan anomalies"]


def test_a_saved_review_is_taken_up_with_one_look_at_a_label_map_that_segments_share(
    mrml: MrmlApplication, nodes: DetectionNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slicer saves many segments in one label map: a look for each of them would hold the application up."""
    voxels(nodes.heatmap)[:] = scattered(voxels(nodes.heatmap).shape)
    nodes.segmentation.GetSegmentation().RemoveAllSegments()  # they are of what was there before
    live = LiveFindings.fromScene(mrml.logics.segmentations, nodes)
    live.show(2.0, 0.0)
    for number in range(1, ACCEPTED_ONES + 1):
        live.decide(number, ACCEPTED)
    save_scene(mrml, tmp_path / "scene.mrb")
    (tmp_path / "again").mkdir()
    loaded = create_mrml_application(tmp_path / "again")
    load_scene(loaded, tmp_path / "scene.mrb")
    (again,) = findDetections(loaded.scene)
    names = segmentIds(again.segmentation)
    images = {labelmapOf(again.segmentation, name) for name in names}
    assert len(names) == ACCEPTED_ONES + 1 and len(images) == 1
    scalars, result = images.pop().GetPointData().GetScalars(), []
    looks, read = [], numpy_support.vtk_to_numpy
    monkeypatch.setattr(numpy_support, "vtk_to_numpy", lambda array: looks.append(array is scalars) or read(array))
    for _step in LiveFindings.openingSteps(loaded.logics.segmentations, again, result):
        pass
    assert [finding.status for finding in result[0].selection.findings][:ACCEPTED_ONES] == [ACCEPTED] * ACCEPTED_ONES
    assert not result[0].edited and sum(looks) == 1
