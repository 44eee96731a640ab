"""What a hand changes in the segmentation is kept, at every threshold, and is in table, volumes and all exports."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from mrml_application import MrmlApplication, create_mrml_application, load_scene, save_scene
from vtk.util import numpy_support

from CondDiffusionUADLib.scene import Export
from CondDiffusionUADLib.scene.CandidateSegmentation import SEGMENT_ID, isOurs, labelmapOf, readSegments, segmentIds
from CondDiffusionUADLib.scene.Decisions import ACCEPTED, EDITS_ATTRIBUTE, OPEN, REJECTED
from CondDiffusionUADLib.scene.Edits import Edits, pack, unpack
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections, matrixOf, vtkMatrix


@pytest.fixture
def live(mrml: MrmlApplication, nodes: DetectionNodes) -> LiveFindings:
    """The findings of the case: number 1 is an ellipsoid, number 2 a box."""
    return LiveFindings.fromScene(mrml.logics.segmentations, nodes)


def by_hand(mrml: MrmlApplication, live: LiveFindings, segment_id: str, mask: np.ndarray, node: Any = None) -> None:
    """Give a segment these voxels, as Slicer's Segment Editor does: whatever the module wrote is replaced."""
    node = node or live.nodes.segmentation
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(mask.shape[::-1])
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    image.SetImageToWorldMatrix(vtkMatrix(matrixOf(live.nodes.heatmap)))
    logic = mrml.logics.segmentations
    assert logic.SetBinaryLabelmapToSegment(image, node, segment_id, logic.MODE_REPLACE)


def read(node: Any, segment_id: str, live: LiveFindings) -> np.ndarray:
    """Where a segment is: sorted flat indices of the heatmap's voxels."""
    return readSegments(node, [segment_id], live.nodes.heatmap)[0]


def shown(live: LiveFindings) -> np.ndarray:
    """Where any segment is: boolean, axes (z, y, x)."""
    found = np.zeros(live.numbers().shape, bool)
    for name in segmentIds(live.nodes.segmentation):
        found.ravel()[read(live.nodes.segmentation, name, live)] = True
    return found


def half_of(labels: np.ndarray, number: int) -> np.ndarray:
    """The half of a finding with the greater x."""
    inside = labels == number
    middle = int(np.median(np.nonzero(inside)[2]))
    inside[:, :, : middle + 1] = False
    return inside


def test_an_erased_part_stays_erased_when_another_finding_is_accepted_and_when_the_slider_moves(
    mrml: MrmlApplication, live: LiveFindings, case: Any
) -> None:
    erased = half_of(case.labels, 1)
    before = live.selection.findings[0].volumeMl
    by_hand(mrml, live, SEGMENT_ID, (case.labels > 0) & ~erased)
    live.decide(2, ACCEPTED)
    np.testing.assert_array_equal(shown(live), (case.labels > 0) & ~erased)
    finding = live.selection.findings[0]
    assert finding.edited and not live.selection.findings[1].edited
    remaining = ((case.labels == 1) & ~erased).sum() / (case.labels == 1).sum()
    assert finding.volumeMl == pytest.approx(before * remaining)
    for threshold in (3.0, 1.5, 2.0):
        live.show(threshold, 0.0)
        np.testing.assert_array_equal(shown(live), (case.score >= threshold) & ~erased)


def test_a_painted_part_joins_what_it_touches_and_stays(mrml: MrmlApplication, live: LiveFindings, case: Any) -> None:
    painted = np.zeros_like(case.labels, bool)
    painted[7:10, 8:12, 12:15] = True  # beside the box
    before = live.selection.findings[1].volumeMl
    by_hand(mrml, live, SEGMENT_ID, (case.labels > 0) | painted)
    assert live.refresh()
    assert len(live.selection.findings) == 2
    assert live.selection.findings[1].volumeMl == pytest.approx(2 * before)
    live.show(1.2, 0.0)
    np.testing.assert_array_equal(shown(live), (case.score >= 1.2) | painted)
    live.decide(2, REJECTED)
    np.testing.assert_array_equal(shown(live), case.labels == 1)


def test_what_is_painted_where_nothing_was_found_is_a_finding_of_its_own(
    mrml: MrmlApplication, live: LiveFindings, case: Any
) -> None:
    painted = np.zeros_like(case.labels, bool)
    painted[25, 3:6, 30] = True
    by_hand(mrml, live, SEGMENT_ID, (case.labels > 0) | painted)
    live.show(3.0, 1000.0)
    (drawn,) = live.selection.findings
    assert drawn.status == ACCEPTED and drawn.edited, "whoever draws a finding accepts it"
    np.testing.assert_array_equal(shown(live), painted)
    live.decide(1, REJECTED)
    assert not shown(live).any() and live.selection.findings[0].status == REJECTED
    assert live.find(live.undo()).status == ACCEPTED
    np.testing.assert_array_equal(shown(live), painted)


def test_all_exports_and_the_table_agree_about_edits_and_segments_of_ones_own(
    mrml: MrmlApplication, live: LiveFindings, case: Any, tmp_path: Path
) -> None:
    erased, own = half_of(case.labels, 1), np.zeros_like(case.labels, bool)
    own[2:4, 40:44, 2:6] = True
    by_hand(mrml, live, SEGMENT_ID, (case.labels > 0) & ~erased)
    segment = slicer.vtkSegment()
    segment.SetName("mine")
    live.nodes.segmentation.GetSegmentation().AddSegment(segment, "mine")
    by_hand(mrml, live, "mine", own)
    everything = ((case.labels > 0) & ~erased) | own
    for name in ("c.nii.gz", "c.seg.nrrd"):
        Export.writeSegmentation(live, tmp_path / name)
    turned = slice(None, None, -1 if np.linalg.det(matrixOf(live.nodes.heatmap)[:3, :3]) < 0 else 1)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "c.nii.gz")))[turned]
    np.testing.assert_array_equal(labels > 0, everything)
    again = mrml.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(tmp_path / "c.seg.nrrd"))
    assert storage.ReadData(again)
    names = [again.GetSegmentation().GetSegment(name).GetName() for name in segmentIds(again)]
    assert names == ["Candidate 1, not judged", "Candidate 2, not judged", "mine"]
    voxels = [read(again, name, live).size for name in segmentIds(again)]
    assert voxels == [(labels == number).sum() for number in (1, 2, 3)]
    Export.writeFindings(live, tmp_path / "findings.csv")
    with (tmp_path / "findings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    voxel_ml = abs(np.linalg.det(matrixOf(live.nodes.heatmap)[:3, :3])) / 1000
    np.testing.assert_allclose([float(row["volume_ml"]) for row in rows], np.multiply(voxels, voxel_ml), atol=1e-4)
    assert [row["segment"] for row in rows] == ["", "", "mine"]
    assert live.nodes.findings.GetNumberOfRows() == 3
    live.show(3.0, 0.0)
    assert live.selection.findings[-1].segment == "mine"
    np.testing.assert_array_equal(shown(live), ((case.score >= 3) & ~erased) | own)
    live.decide(2, REJECTED)  # a segment of one's own is not the module's to reject
    assert "mine" in segmentIds(live.nodes.segmentation)


@pytest.mark.parametrize(("which", "numbers"), [("accepted", {2}), ("notRejected", {1, 2}), ("all", {1, 2})])
def test_what_is_exported_can_be_chosen(
    live: LiveFindings, tmp_path: Path, which: str, numbers: set[int], case: Any
) -> None:
    live.decide(2, ACCEPTED)
    Export.writeSegmentation(live, tmp_path / "c.nii.gz", which)
    assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "c.nii.gz"))))) == {0} | numbers
    live.decide(1, REJECTED)
    Export.writeSegmentation(live, tmp_path / "c.nii.gz", which)
    expected = {2} if which != "all" else {1, 2}
    assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "c.nii.gz"))))) == {0} | expected
    assert findDetections(live.nodes.heatmap.GetScene()) == [live.nodes]
    assert live.nodes.heatmap.GetScene().GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_each_accepted_finding_is_a_segment_and_colored_by_its_status(live: LiveFindings, case: Any) -> None:
    live.decide(1, ACCEPTED)
    segmentation = live.nodes.segmentation.GetSegmentation()
    ids = segmentIds(live.nodes.segmentation)
    assert len(ids) == 2 and all(isOurs(name) for name in ids)
    colors = [segmentation.GetSegment(name).GetColor() for name in ids]
    assert colors[0] != colors[1]
    sizes = [read(live.nodes.segmentation, name, live).size for name in ids]
    assert sizes == [(case.labels == 2).sum(), (case.labels == 1).sum()]
    segmentation.GetSegment(ids[1]).SetName("glioma?")
    live.show(3.0, 0.0)
    live.show(2.0, 0.0)
    assert segmentation.GetSegment(ids[1]).GetName() == "glioma?"
    live.decide(1, OPEN)
    assert segmentIds(live.nodes.segmentation) == [SEGMENT_ID]


def test_the_copy_for_the_segment_editor_is_taken_over_and_no_slider_touches_it(
    mrml: MrmlApplication, live: LiveFindings, case: Any
) -> None:
    live.decide(2, ACCEPTED)
    copy = live.editableCopy()
    assert not live.nodes.segmentation.GetDisplayNode().GetVisibility() and copy.GetDisplayNode().GetVisibility()
    assert [copy.GetSegmentation().GetSegment(name).GetName() for name in segmentIds(copy)] == [
        "Candidate 1, not judged",
        "Candidate 2, accepted",
    ]
    erased = half_of(case.labels, 1)
    by_hand(mrml, live, segmentIds(copy)[0], (case.labels == 1) & ~erased, copy)
    kept = [read(copy, name, live) for name in segmentIds(copy)]
    assert live.refresh()
    assert live.nodes.segmentation.GetDisplayNode().GetVisibility() and not copy.GetDisplayNode().GetVisibility()
    np.testing.assert_array_equal(shown(live), (case.labels > 0) & ~erased)
    live.show(3.0, 0.0)
    live.show(2.0, 0.0)
    for name, voxels in zip(segmentIds(copy), kept, strict=True):
        np.testing.assert_array_equal(read(copy, name, live), voxels)
    copy.GetSegmentation().RemoveSegment(segmentIds(copy)[1])
    live.refresh()
    np.testing.assert_array_equal(shown(live), (case.labels == 1) & ~erased)


@pytest.mark.parametrize("way", ["deleted", "hidden", "shown beside it"])
def test_the_outlines_come_back_whatever_became_of_the_copy(
    mrml: MrmlApplication, live: LiveFindings, way: str
) -> None:
    display, copy = live.nodes.segmentation.GetDisplayNode(), live.editableCopy()
    if way == "deleted":
        mrml.scene.RemoveNode(copy)
    elif way == "hidden":
        copy.GetDisplayNode().SetVisibility(False)
    else:
        display.SetVisibility(True)
    live.refresh()
    assert display.GetVisibility()
    assert way == "deleted" or not copy.GetDisplayNode().GetVisibility()
    display.SetVisibility(False)  # now the user does it
    live.refresh()
    assert not display.GetVisibility()


def test_a_deleted_segment_is_made_again_and_told(live: LiveFindings, case: Any) -> None:
    live.nodes.segmentation.GetSegmentation().RemoveSegment(SEGMENT_ID)
    live.show(3.0, 0.0)
    np.testing.assert_array_equal(shown(live), case.score >= 3.0)
    assert "made again" in live.notices()[0]


@pytest.mark.parametrize("part", ["segmentation", "findings"])
def test_a_deleted_node_is_made_again(mrml: MrmlApplication, live: LiveFindings, part: str, case: Any) -> None:
    live.decide(1, ACCEPTED)
    mrml.scene.RemoveNode(getattr(live.nodes, part))
    (found,) = findDetections(mrml.scene)
    assert getattr(found, part) is None, "the result is still one"
    live.show(2.5, 0.0)
    np.testing.assert_array_equal(shown(live), case.score >= 2.5)
    assert live.nodes.findings.GetNumberOfRows() == 2
    assert findDetections(mrml.scene) == [live.nodes]
    again = LiveFindings.fromScene(mrml.logics.segmentations, live.nodes)
    assert [finding.status for finding in again.selection.findings] == [ACCEPTED, OPEN] and not again.edited


def test_edits_are_in_the_scene_that_is_saved(
    mrml: MrmlApplication, live: LiveFindings, case: Any, tmp_path: Path
) -> None:
    """Also those that were made after the panel looked, and when the threshold was changed in the module Volumes."""
    erased, painted = half_of(case.labels, 1), np.zeros_like(case.labels, bool)
    painted[7:10, 8:12, 12:15] = True
    by_hand(mrml, live, SEGMENT_ID, (case.labels > 0) & ~erased)
    live.show(3.0, 0.0)
    by_hand(mrml, live, SEGMENT_ID, ((case.score >= 3.0) & ~erased) | painted)
    live.nodes.heatmap.GetDisplayNode().SetLowerThreshold(1.5)
    save_scene(mrml, tmp_path / "scene.mrb")
    (tmp_path / "again").mkdir()
    again = create_mrml_application(tmp_path / "again")
    load_scene(again, tmp_path / "scene.mrb")
    loaded = LiveFindings.fromScene(again.logics.segmentations, findDetections(again.scene)[0])
    assert loaded.edited and loaded.threshold == 1.5
    np.testing.assert_array_equal(shown(loaded), ((case.score >= 1.5) & ~erased) | painted)


def test_segments_that_share_a_label_map_after_loading_are_still_written_each(
    mrml: MrmlApplication, live: LiveFindings, case: Any, tmp_path: Path
) -> None:
    """Slicer saves segments that do not overlap in one label map, and loads them so."""
    live.decide(1, ACCEPTED)
    save_scene(mrml, tmp_path / "scene.mrb")
    (tmp_path / "again").mkdir()
    again = create_mrml_application(tmp_path / "again")
    load_scene(again, tmp_path / "scene.mrb")
    loaded = LiveFindings.fromScene(again.logics.segmentations, findDetections(again.scene)[0])
    node = loaded.nodes.segmentation
    assert not loaded.edited and loaded.notices() == ()
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    for threshold in (3.0, 2.0, 1.2):
        loaded.show(threshold, 0.0)
        np.testing.assert_array_equal(shown(loaded), case.score >= threshold)
        accepted = [name for name in segmentIds(node) if name != SEGMENT_ID]
        assert len(accepted) == 1
        size = read(node, accepted[0], loaded).size
        assert size == int((loaded.numbers() == 1).sum()) > 0
    assert not loaded.edited
    loaded.decide(2, ACCEPTED)
    assert len(segmentIds(node)) == 3 and not loaded.edited


def test_a_missing_segmentation_file_is_no_edit(mrml: MrmlApplication, live: LiveFindings, case: Any) -> None:
    live.nodes.segmentation.GetSegmentation().RemoveAllSegments()
    loaded = LiveFindings.fromScene(mrml.logics.segmentations, live.nodes)
    assert not loaded.edited
    np.testing.assert_array_equal(shown(loaded), case.labels > 0)


def test_an_edit_on_another_grid_is_resampled(mrml: MrmlApplication, live: LiveFindings, case: Any) -> None:
    """The Segment Editor can be told to work with finer voxels: each of ours is then eight of its."""
    image = slicer.vtkOrientedImageData()
    mask = np.kron(case.labels == 2, np.ones((2, 2, 2))).astype(np.uint8)
    image.SetDimensions(mask.shape[::-1])
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(mask.ravel(), deep=True))
    matrix = matrixOf(live.nodes.heatmap)
    finer = matrix.copy()
    finer[:3, :3] /= 2
    finer[:3, 3] -= matrix[:3, :3].sum(axis=1) / 4
    image.SetImageToWorldMatrix(vtkMatrix(finer))
    logic = mrml.logics.segmentations
    logic.SetBinaryLabelmapToSegment(image, live.nodes.segmentation, SEGMENT_ID, logic.MODE_REPLACE)
    live.refresh()
    np.testing.assert_array_equal(shown(live), case.labels == 2)
    assert labelmapOf(live.nodes.segmentation, SEGMENT_ID) is not None


@pytest.mark.parametrize(
    "text", ["{", "[]", "7", '{"added": "AAAA", "removed": ""}', '{"added": 3}', "[" * 100_000, '{"added": ""}']
)
def test_edits_that_cannot_be_understood_are_none(text: str) -> None:
    assert not Edits.fromText(text, 1000)


def test_packed_voxels_outside_of_the_volume_are_refused() -> None:
    np.testing.assert_array_equal(unpack(pack(np.array([0, 5, 999])), 1000), [0, 5, 999])
    for wrong in (pack(np.array([5, 1000])), pack(np.zeros(3, np.int64)), pack(np.arange(2000))):
        with pytest.raises(ValueError, match="no packed"):
            unpack(wrong, 1000)


def test_damaged_edits_in_a_scene_leave_the_findings_as_they_are(
    mrml: MrmlApplication, live: LiveFindings, case: Any
) -> None:
    live.nodes.heatmap.SetAttribute(EDITS_ATTRIBUTE, '{"added": "' + "A" * 100 + '", "removed": ""}')
    loaded = LiveFindings.fromScene(mrml.logics.segmentations, live.nodes)
    np.testing.assert_array_equal(shown(loaded), case.labels > 0)
