"""The uncertainty of a score: a volume of its own with colors of its own, shown in the place of the heatmap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from mrml_application import MrmlApplication, create_mrml_application, load_scene, save_scene
from slice_views import SliceView

from conddiffusion_uad.protocol.result_files import UNCERTAINTY as FILE
from CondDiffusionUADLib.run.DetectionOutput import DetectionOutput, readDetectionOutput
from CondDiffusionUADLib.scene.Colors import NUMBER_OF_COLORS, legendOf
from CondDiffusionUADLib.scene.Heatmap import SCORE
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections, followScan, notScans, voxels
from CondDiffusionUADLib.scene.Scene import SceneError, addDetection
from CondDiffusionUADLib.scene.Uncertainty import LEAST_SHOWN, UNCERTAINTY
from CondDiffusionUADLib.scene.Views import HEATMAP, Views
from CondDiffusionUADLib.scene.Views import UNCERTAINTY as MODE
from CondDiffusionUADLib.scene.ViewsState import TOP_LAYER


@pytest.fixture
def output(case: Any) -> DetectionOutput:
    """What was read from the output folder of the case, to which an uncertainty belongs: a tenth of the score."""
    score = sitk.ReadImage(str(case.folder / "heatmap.nii.gz"))
    sitk.WriteImage(score / 10, str(case.folder / FILE))
    return readDetectionOutput(case.folder)


@pytest.fixture
def shown(mrml: MrmlApplication, views: dict[str, SliceView], nodes: DetectionNodes) -> Iterator[Views]:
    """The uncertainty in the views."""
    for view in views.values():
        view.composite_node.SetBackgroundVolumeID(nodes.input.GetID())
    result = Views(mrml.scene)
    result.show(nodes, MODE, 0.6, 0.0)
    yield result
    result.forget()


def top(view: SliceView) -> Any:
    """What lies on the scan."""
    identity = view.composite_node.GetNthLayerVolumeID(TOP_LAYER)
    return view.composite_node.GetScene().GetNodeByID(identity) if identity else None


def test_it_is_a_volume_with_its_own_colors_window_and_legend(nodes: DetectionNodes, case: Any) -> None:
    node = nodes.uncertainty
    np.testing.assert_allclose(voxels(node), case.score / 10, rtol=1e-5)
    assert node.GetName() == "scan uncertainty" and "Research use only" in node.GetDescription()
    display = node.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == UNCERTAINTY.range
    assert display.GetApplyThreshold() and display.GetLowerThreshold() == LEAST_SHOWN
    assert display.GetColorNode() is not nodes.heatmap.GetDisplayNode().GetColorNode()
    legend = legendOf(node)
    assert legend.GetTitleText() == UNCERTAINTY.title and not legend.GetVisibility()
    assert legend.GetPrimaryDisplayNode().GetScalarRange() == UNCERTAINTY.range
    assert legendOf(nodes.heatmap).GetTitleText() == SCORE.title


def test_it_lies_where_the_other_results_do(mrml: MrmlApplication, nodes: DetectionNodes) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(mrml.scene)
    parents = {
        hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in (nodes.heatmap, nodes.uncertainty)
    }
    assert len(parents) == 1
    assert nodes.uncertainty.GetID() in notScans(mrml.scene), "nobody examines it"
    transform = mrml.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    nodes.input.SetAndObserveTransformNodeID(transform.GetID())
    followScan(nodes)
    assert nodes.uncertainty.GetParentTransformNode() is transform


def test_one_on_another_grid_is_refused_with_all_the_rest(mrml: MrmlApplication, scan: Any, case: Any) -> None:
    image = sitk.ReadImage(str(case.folder / "heatmap.nii.gz"))
    sitk.WriteImage(image[:, :, :-1], str(case.folder / FILE))
    before = mrml.scene.GetNumberOfNodes()
    with pytest.raises(SceneError, match="do not lie on the grid"):
        addDetection(mrml.scene, mrml.logics, scan, readDetectionOutput(case.folder))
    assert mrml.scene.GetNumberOfNodes() == before


def test_the_views_show_it_in_the_place_of_the_heatmap(
    shown: Views, views: dict[str, SliceView], nodes: DetectionNodes
) -> None:
    assert all(top(view) is nodes.uncertainty for view in views.values())
    assert legendOf(nodes.uncertainty).GetVisibility() and not legendOf(nodes.heatmap).GetVisibility()
    shown.setOpacity(0.3)
    assert views["Axial"].composite_node.GetNthLayerOpacity(TOP_LAYER) == pytest.approx(0.3)
    assert not shown.toggleHeatmap()
    assert all(top(view) is None for view in views.values()) and not legendOf(nodes.uncertainty).GetVisibility()
    shown.show(nodes, HEATMAP, 0.6, 0.0)
    assert all(top(view) is nodes.heatmap for view in views.values())
    assert legendOf(nodes.heatmap).GetVisibility() and not legendOf(nodes.uncertainty).GetVisibility()


def test_a_drag_does_not_change_its_scale(shown: Views, nodes: DetectionNodes) -> None:
    display = nodes.uncertainty.GetDisplayNode()
    display.SetWindowLevelMinMax(0.3, 7.0)
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == UNCERTAINTY.range


def test_its_legend_goes_with_its_result(
    shown: Views, mrml: MrmlApplication, scan: Any, case: Any, nodes: DetectionNodes
) -> None:
    (case.folder / FILE).unlink()
    other = addDetection(mrml.scene, mrml.logics, scan, readDetectionOutput(case.folder))
    assert other.uncertainty is None and not legendOf(nodes.uncertainty).GetVisibility()
    shown.show(other, MODE, 0.6, 0.0)
    assert legendOf(other.heatmap).GetVisibility() and not legendOf(nodes.uncertainty).GetVisibility()


def test_a_saved_scene_has_it_and_shows_it_again(
    shown: Views, mrml: MrmlApplication, nodes: DetectionNodes, case: Any, tmp_path: Path
) -> None:
    save_scene(mrml, tmp_path / "scene.mrb")
    (tmp_path / "again").mkdir()
    again = create_mrml_application(tmp_path / "again")
    load_scene(again, tmp_path / "scene.mrb")
    (found,) = findDetections(again.scene)
    np.testing.assert_allclose(voxels(found.uncertainty), case.score / 10, rtol=1e-5)
    display = found.uncertainty.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == UNCERTAINTY.range
    color = [0.0] * 4
    display.GetColorNode().GetColor(NUMBER_OF_COLORS - 1, color)
    np.testing.assert_allclose(color[:3], UNCERTAINTY.color(1.0), atol=1 / 255)
    assert legendOf(found.uncertainty).GetTitleText() == UNCERTAINTY.title
    resumed = Views(again.scene)
    assert resumed.resume(found, MODE, 0.6, 0.0)
    assert legendOf(found.uncertainty).GetVisibility() and not legendOf(found.heatmap).GetVisibility()
    resumed.forget()


def test_a_result_without_it_is_like_before(mrml: MrmlApplication, scan: Any, case: Any) -> None:
    (case.folder / FILE).unlink(missing_ok=True)
    nodes = addDetection(mrml.scene, mrml.logics, scan, readDetectionOutput(case.folder))
    assert nodes.uncertainty is None and findDetections(mrml.scene) == [nodes]
