"""Which nodes are a result, and whose: copies, imports, several results of one scan, scans that move or change."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from mrml_application import MrmlApplication, create_mrml_application, load_scene, save_scene

from CondDiffusionUADLib.run.DetectionOutput import DetectionOutput
from CondDiffusionUADLib.run.Problems import ProblemError
from CondDiffusionUADLib.scene.CandidateSegmentation import segmentIds
from CondDiffusionUADLib.scene.Colors import legendOf, setThreshold
from CondDiffusionUADLib.scene.Decisions import (
    ACCEPTED,
    DECISIONS_ATTRIBUTE,
    LONGEST_TEXT,
    MIN_VOLUME_ATTRIBUTE,
    REJECTED,
)
from CondDiffusionUADLib.scene.Heatmap import thresholdOf
from CondDiffusionUADLib.scene.InputVolume import checkScan, preselected, seriesSlice
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import (
    DetectionNodes,
    findDetections,
    followScan,
    isResult,
    nodesOf,
    notScans,
    placeProblem,
    resultTitle,
    toWorld,
)
from CondDiffusionUADLib.scene.Scene import addDetection
from CondDiffusionUADLib.scene.Views import Views


def moved(scene: Any, millimeters: float) -> Any:
    """A transform that moves to the right."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, millimeters)
    transform.SetMatrixTransformToParent(matrix)
    return transform


def live_of(mrml: MrmlApplication, nodes: DetectionNodes) -> LiveFindings:
    return LiveFindings.fromScene(mrml.logics.segmentations, nodes)


def test_outlines_that_slicer_hid_in_a_loaded_scene_are_shown_and_those_that_the_user_hid_are_not(
    mrml: MrmlApplication, nodes: DetectionNodes, tmp_path: Path
) -> None:
    live = live_of(mrml, nodes)
    live.decide(1, ACCEPTED)
    names = segmentIds(nodes.segmentation)
    assert len(names) == 2
    own = nodes.segmentation.GetSegmentation().AddEmptySegment("own")
    for name in (names[0], own):
        nodes.segmentation.GetDisplayNode().SetSegmentVisibility(name, False)
    live.keepHidden()
    save_scene(mrml, tmp_path / "scene.mrb")
    (tmp_path / "again").mkdir()
    loaded = create_mrml_application(tmp_path / "again")
    load_scene(loaded, tmp_path / "scene.mrb")
    (again,) = findDetections(loaded.scene)
    display = again.segmentation.GetDisplayNode()
    for hidden in ((), names[1:], names):  # by Slicer
        for name in hidden:
            display.SetSegmentVisibility(name, False)
        live_of(loaded, again)
        assert [display.GetSegmentVisibility(name) for name in (*names, own)] == [False, True, False]


def test_segments_that_slicer_hides_as_they_are_made_are_shown(mrml: MrmlApplication, nodes: DetectionNodes) -> None:
    """Its tree of data does so, when the module's change ends."""
    live, display = live_of(mrml, nodes), nodes.segmentation.GetDisplayNode()

    def hide(segmentation: Any, _event: str) -> None:
        for name in segmentIds(segmentation):
            display.SetSegmentVisibility(name, False)

    def tell(*_event: Any) -> None:
        live.keepHidden()

    hiding = nodes.segmentation.AddObserver(slicer.vtkSegmentation.SegmentAdded, hide)
    telling = display.AddObserver("ModifiedEvent", tell)
    live.decide(1, ACCEPTED)
    nodes.segmentation.RemoveObserver(hiding)
    names = segmentIds(nodes.segmentation)
    assert len(names) == 2 and all(display.GetSegmentVisibility(name) for name in names)
    display.SetSegmentVisibility(names[1], False)
    live.decide(2, ACCEPTED)
    display.RemoveObserver(telling)
    shown = [display.GetSegmentVisibility(name) for name in segmentIds(nodes.segmentation)]
    assert shown == [True, False, True], "what the user hid stays hidden"


def test_a_copy_of_the_heatmap_is_a_volume_and_no_result_and_no_scan(
    mrml: MrmlApplication, nodes: DetectionNodes
) -> None:
    copy = mrml.logics.volumes.CloneVolume(mrml.scene, nodes.heatmap, "copy")
    assert copy.GetNodeReference("CondDiffusionUAD.Segmentation") is nodes.segmentation, "Slicer copies references"
    assert findDetections(mrml.scene) == [nodes]
    assert isResult(copy) and copy.GetID() in notScans(mrml.scene)
    with pytest.raises(ProblemError, match="result"):
        checkScan(copy)
    mrml.scene.RemoveNode(nodes.input)
    assert preselected(nodesOf(mrml.scene, "vtkMRMLScalarVolumeNode"), nodes.heatmap) is None


def test_two_results_of_a_scan_can_be_told_apart_and_one_is_seen(
    mrml: MrmlApplication, scan: Any, nodes: DetectionNodes, output: DetectionOutput
) -> None:
    second = addDetection(mrml.scene, mrml.logics, scan, output)
    assert findDetections(mrml.scene) == [nodes, second]
    first_title, second_title = resultTitle(nodes), resultTitle(second)
    assert first_title[:20] != second_title[:20], "a list may cut the end off"
    assert nodes.segmentation.GetName() != second.segmentation.GetName()
    assert not nodes.segmentation.GetDisplayNode().GetVisibility()
    assert second.segmentation.GetDisplayNode().GetVisibility()
    assert not legendOf(nodes.heatmap).GetVisibility()


def test_a_scene_that_is_imported_into_a_full_one_keeps_its_results_apart(
    mrml: MrmlApplication, nodes: DetectionNodes, tmp_path: Path
) -> None:
    live_of(mrml, nodes).decide(1, ACCEPTED)
    save_scene(mrml, tmp_path / "scene.mrb")
    assert mrml.scene.ReadFromMRB(str(tmp_path / "scene.mrb"), False)
    first, second = findDetections(mrml.scene)
    assert first == nodes
    for field in ("input", "heatmap", "reconstruction", "segmentation", "findings", "report"):
        assert getattr(first, field) is not getattr(second, field)
    live_of(mrml, second).decide(1, REJECTED)
    assert [finding.status for finding in live_of(mrml, first).selection.findings] == [ACCEPTED, "open"]


def test_a_heatmap_without_its_file_says_so(mrml: MrmlApplication, nodes: DetectionNodes, tmp_path: Path) -> None:
    nodes.heatmap.SetAndObserveImageData(None)
    (found,) = findDetections(mrml.scene)
    assert not found.hasScores and placeProblem(found) == ""
    with pytest.raises(ProblemError, match="missing"):
        live_of(mrml, found)


def test_a_scene_whose_heatmap_file_is_gone_still_opens(
    mrml: MrmlApplication, nodes: DetectionNodes, tmp_path: Path
) -> None:
    save_scene(mrml, tmp_path / "scene.mrb")
    with zipfile.ZipFile(tmp_path / "scene.mrb") as archive:
        archive.extractall(tmp_path / "folder")
    (heatmap_file,) = (tmp_path / "folder").rglob("*anomaly*score*.nrrd")
    heatmap_file.unlink()
    (scene_file,) = (tmp_path / "folder").rglob("*.mrml")
    (tmp_path / "again").mkdir()
    again = create_mrml_application(tmp_path / "again")
    again.scene.SetURL(str(scene_file))
    again.scene.Connect()
    (found,) = findDetections(again.scene)
    assert not found.hasScores and found.segmentation is not None
    with pytest.raises(ProblemError, match="missing"):
        live_of(again, found)
    Views(again.scene).show(found)
    assert resultTitle(found).startswith("scan") and placeProblem(found) == ""


def test_references_to_nodes_of_other_kinds_are_none(mrml: MrmlApplication, nodes: DetectionNodes, scan: Any) -> None:
    nodes.heatmap.SetNodeReferenceID("CondDiffusionUAD.Segmentation", scan.GetID())
    nodes.heatmap.SetNodeReferenceID("CondDiffusionUAD.Report", nodes.findings.GetID())
    nodes.heatmap.SetNodeReferenceID("CondDiffusionUAD.Input", nodes.report.GetID())
    (found,) = findDetections(mrml.scene)
    assert found.segmentation is None and found.report is None and found.input is None
    live_of(mrml, found).show(2.0, 0.0)


def test_places_are_those_of_the_views(mrml: MrmlApplication, nodes: DetectionNodes) -> None:
    live = live_of(mrml, nodes)
    before = [finding.centerRas for finding in live.selection.findings]
    transform = moved(mrml.scene, 30.0)
    for node in (nodes.input, nodes.heatmap, nodes.segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())
    assert placeProblem(nodes) == ""
    assert live.refresh()
    for old, finding in zip(before, live.selection.findings, strict=True):
        np.testing.assert_allclose(finding.centerRas, toWorld(nodes.heatmap, old))
        assert finding.centerRas[0] == pytest.approx(old[0] + 30)
    assert nodes.findings.GetTable().GetValue(0, 4).ToDouble() == pytest.approx(before[0][0] + 30)


def test_a_scan_that_moved_away_is_told_and_followed(mrml: MrmlApplication, nodes: DetectionNodes) -> None:
    live = live_of(mrml, nodes)
    assert live.notices() == ()
    nodes.input.SetAndObserveTransformNodeID(moved(mrml.scene, 30.0).GetID())
    assert "moved" in live.notices()[0]
    followScan(nodes)
    assert live.notices() == ()
    nodes.input.SetSpacing(2.0, 2.0, 2.0)
    assert placeProblem(nodes) == "moved"
    nodes.input.SetAndObserveImageData(slicer.vtkOrientedImageData())
    assert placeProblem(nodes) == "regridded"


def test_sides_are_the_patients_and_slices_those_of_the_series(mrml: MrmlApplication, nodes: DetectionNodes) -> None:
    live = live_of(mrml, nodes)
    first, second = live.selection.findings
    bounds = np.zeros(6)
    nodes.heatmap.GetRASBounds(bounds)
    for finding in (first, second):
        away = (finding.centerRas[0] - (bounds[0] + bounds[1]) / 2) / (bounds[1] - bounds[0])
        assert abs(away) > 0.08 and finding.side == ("right" if away > 0 else "left")
    matrix = vtk.vtkMatrix4x4()
    nodes.heatmap.GetRASToIJKMatrix(matrix)
    assert first.slice == round(matrix.MultiplyPoint((*first.centerRas, 1.0))[2]) + 1
    assert seriesSlice(nodes.input, first.slice, lambda uid, tag: "") == str(first.slice)
    count = nodes.input.GetImageData().GetDimensions()[2]
    nodes.input.SetAttribute("DICOM.instanceUIDs", " ".join(f"1.{index}" for index in range(count)))
    numbers = {f"1.{index}": str(count - index) for index in range(count)}
    told = seriesSlice(nodes.input, first.slice, lambda uid, tag: numbers[uid] if tag == "0020,0013" else "")
    assert told == str(count - first.slice + 1)


@pytest.mark.parametrize("threshold", [0.3, 9.0, 90.0])
def test_a_threshold_that_was_chosen_in_the_module_volumes_is_left_alone(
    mrml: MrmlApplication, nodes: DetectionNodes, threshold: float
) -> None:
    live = live_of(mrml, nodes)
    setThreshold(nodes.heatmap, threshold)
    live.refresh()
    assert thresholdOf(nodes.heatmap) == threshold
    assert live.threshold == min(max(threshold, 1.0), 10.0)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-3", "ml"])
def test_a_smallest_volume_that_is_none_hides_nothing(mrml: MrmlApplication, nodes: DetectionNodes, text: str) -> None:
    nodes.heatmap.SetAttribute(MIN_VOLUME_ATTRIBUTE, text)
    live = live_of(mrml, nodes)
    assert live.minVolumeMl in (0.0, 0.05) and live.selection.findings


@pytest.mark.parametrize("text", ["[" * 100_000, "[" + '[[1,1,1],2.0,"accepted"],' * 9 + "0" * LONGEST_TEXT, "1e999"])
def test_hostile_decisions_are_none(mrml: MrmlApplication, nodes: DetectionNodes, text: str) -> None:
    nodes.heatmap.SetAttribute(DECISIONS_ATTRIBUTE, text)
    assert {finding.status for finding in live_of(mrml, nodes).selection.findings} == {"open"}


def test_decisions_are_taken_back_and_made_again(mrml: MrmlApplication, nodes: DetectionNodes) -> None:
    live = live_of(mrml, nodes)

    def statuses() -> list[str]:
        return [finding.status for finding in live.selection.findings]

    assert not live.canUndo and not live.canRedo and live.undo() is None
    first, second = (finding.peak for finding in live.selection.findings)
    live.decide(1, ACCEPTED)
    live.decide(2, REJECTED)
    live.decide(1, REJECTED)
    assert statuses() == [REJECTED, REJECTED]
    assert live.undo() == first and statuses() == [ACCEPTED, REJECTED]
    assert live.undo() == second and statuses() == [ACCEPTED, "open"]
    assert live.canRedo and live.redo() == second and statuses() == [ACCEPTED, REJECTED]
    live.decide(2, ACCEPTED)
    assert not live.canRedo and statuses() == [ACCEPTED, ACCEPTED]
    assert live_of(mrml, nodes).chosen([ACCEPTED])[1].peak == second


def test_a_finding_is_known_by_its_peak_while_the_threshold_moves(mrml: MrmlApplication, nodes: DetectionNodes) -> None:
    live = live_of(mrml, nodes)
    peak = live.selection.findings[1].peak
    for threshold in (1.2, 2.4, 2.0):
        live.show(threshold, 0.0)
        assert live.find(peak).number == 2
    live.show(3.0, 0.0)
    assert live.find(peak) is None
    live.show(0.5, 0.0)
    assert live.find(peak) is not None and live.find(None) is None


def test_a_closed_scene_and_the_next_one(mrml: MrmlApplication, nodes: DetectionNodes, tmp_path: Path) -> None:
    save_scene(mrml, tmp_path / "scene.mrb")
    for _round in range(2):
        mrml.scene.Clear(False)
        assert findDetections(mrml.scene) == []
        load_scene(mrml, tmp_path / "scene.mrb")
        (loaded,) = findDetections(mrml.scene)
        assert len(live_of(mrml, loaded).selection.findings) == 2


def test_a_scene_with_results_holds_no_path_of_this_computer(
    mrml: MrmlApplication, nodes: DetectionNodes, tmp_path: Path
) -> None:
    (tmp_path / "mrml").mkdir()
    mrml.scene.SetURL(str(tmp_path / "mrml" / "scene.mrml"))
    mrml.scene.RemoveNode(nodes.input)  # Slicer itself writes where a scan came from
    mrml.scene.Commit()
    text = (tmp_path / "mrml" / "scene.mrml").read_text(encoding="utf-8")
    ours = [line for line in text.splitlines() if "CondDiffusionUAD" in line]
    assert ours and not any(str(tmp_path) in line for line in ours)


def test_a_fresh_scene_is_like_any(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert notScans(create_mrml_application(tmp_path / "other").scene) == []
