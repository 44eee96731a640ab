"""What the slice views show and how they stand: modes, keys, jumps, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from mrml_application import MrmlApplication, create_mrml_application, load_scene, save_scene
from slice_views import SliceView

from CondDiffusionUADLib.run.DetectionOutput import DetectionOutput
from CondDiffusionUADLib.scene.Colors import legendOf
from CondDiffusionUADLib.scene.Heatmap import SCORE_RANGE
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections
from CondDiffusionUADLib.scene.Scene import addDetection
from CondDiffusionUADLib.scene.Views import FADE, HEATMAP, MODES, SIDE_BY_SIDE, THREE_UP, UNCERTAINTY, Views
from CondDiffusionUADLib.scene.ViewsState import TOP_LAYER, setTop

FOUR_UP, BESIDE = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView, slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView


@pytest.fixture
def crosshair(mrml: MrmlApplication, views: dict[str, SliceView]) -> Any:
    """The crosshair of the application."""
    there = mrml.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    return there or mrml.scene.AddNewNodeByClass("vtkMRMLCrosshairNode")


def states(views: dict[str, SliceView]) -> list[Any]:
    """What the views show and where they stand."""
    found = []
    for view in views.values():
        composite, matrix = view.composite_node, view.slice_node.GetSliceToRAS()
        place = [round(matrix.GetElement(row, column), 6) for row in range(3) for column in range(4)]
        field = [round(value, 6) for value in view.slice_node.GetFieldOfView()]
        volumes = (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
        found.append((*volumes, composite.GetNthLayerVolumeID(TOP_LAYER), place, field, composite.GetLinkedControl()))
    return found


def content(view: SliceView) -> tuple[Any, Any]:
    """Background and top layer."""
    composite = view.composite_node
    ids = (composite.GetBackgroundVolumeID(), composite.GetNthLayerVolumeID(TOP_LAYER))
    return tuple(composite.GetScene().GetNodeByID(i) if i else None for i in ids)


def test_each_mode_shows_what_it_says(shown: Views, views: dict[str, SliceView], nodes: DetectionNodes) -> None:
    scan, heatmap, healthy = nodes.input, nodes.heatmap, nodes.reconstruction
    expected = {  # Axial (Red), Coronal (Green), Sagittal (Yellow)
        HEATMAP: [(scan, heatmap)] * 3,
        FADE: [(scan, healthy)] * 3,
        SIDE_BY_SIDE: [(scan, None), (scan, None), (healthy, None)],
        THREE_UP: [(scan, None), (scan, heatmap), (healthy, None)],
        UNCERTAINTY: [(scan, heatmap)] * 3,  # this detection has none
    }
    assert set(expected) == set(MODES)
    for mode, contents in expected.items():
        shown.show(nodes, mode, 0.6, 0.3)
        assert [content(view) for view in views.values()] == contents, mode
        assert all(view.composite_node.GetForegroundVolumeID() is None for view in views.values())
    shown.show(nodes, FADE, 0.6, 0.3)
    assert views["Axial"].composite_node.GetNthLayerOpacity(TOP_LAYER) == pytest.approx(0.3)
    shown.setFade(0.8)
    assert views["Axial"].composite_node.GetNthLayerOpacity(TOP_LAYER) == pytest.approx(0.8)


@pytest.mark.parametrize("mode", MODES)
def test_the_way_back_leads_to_where_the_views_stood(
    mrml: MrmlApplication, views: dict[str, SliceView], layout: Any, nodes: DetectionNodes, mode: str, crosshair: Any
) -> None:
    for view in views.values():
        view.composite_node.SetForegroundVolumeID(nodes.reconstruction.GetID())
        view.look_at((20.0, -10.0, 30.0))
    before, result = states(views), Views(mrml.scene)
    result.show(nodes, mode)
    result.show(nodes, SIDE_BY_SIDE)
    result.jump((0.0, 0.0, 0.0))
    result.restore()
    assert states(views) == before
    assert layout.GetViewArrangement() == FOUR_UP and not result.canRestore
    assert crosshair.GetCrosshairMode() == crosshair.NoCrosshair
    assert not nodes.segmentation.GetDisplayNode().GetVisibility()


def test_keys_toggle_and_flicker(shown: Views, views: dict[str, SliceView], nodes: DetectionNodes) -> None:
    view = views["Axial"]
    assert not shown.toggleHeatmap() and content(view) == (nodes.input, None)
    assert not legendOf(nodes.heatmap).GetVisibility()
    assert shown.toggleHeatmap() and content(view) == (nodes.input, nodes.heatmap)
    assert shown.flicker() and content(view) == (nodes.reconstruction, nodes.heatmap)
    assert not shown.flicker() and content(view) == (nodes.input, nodes.heatmap)
    shown.setLegendVisible(False)
    assert not legendOf(nodes.heatmap).GetVisibility()
    shown.toggleHeatmap()
    shown.toggleHeatmap()
    assert not legendOf(nodes.heatmap).GetVisibility()


def test_a_jump_centers_views_that_do_not_show_the_place_and_marks_it(
    shown: Views, views: dict[str, SliceView], crosshair: Any
) -> None:
    inside = (15.0, -15.0, 25.0)
    origins = [tuple(view.slice_node.GetXYZOrigin()) for view in views.values()]
    shown.jump(inside)
    for view, axis in (("Axial", 2), ("Coronal", 1), ("Sagittal", 0)):
        assert views[view].slice_node.GetSliceToRAS().GetElement(axis, 3) == pytest.approx(inside[axis], abs=0.01)
    assert [tuple(view.slice_node.GetXYZOrigin()) for view in views.values()] == origins
    assert crosshair.GetCrosshairMode() != crosshair.NoCrosshair
    np.testing.assert_allclose(crosshair.GetCrosshairRAS(), inside)
    for view in views.values():  # zoomed in, elsewhere
        view.slice_node.SetFieldOfView(20.0, 16.0, 1.0)
        view.slice_node.JumpSliceByCentering(0.0, 0.0, 0.0)
    away = (40.0, -50.0, 60.0)
    shown.jump(away)
    for view in views.values():
        row, column = view.pixel_of(away)
        assert abs(row - 100) < 3 and abs(column - 120) < 3


def test_the_reconstruction_is_as_bright_as_the_scan_and_the_heatmap_keeps_its_scale(
    shown: Views, nodes: DetectionNodes
) -> None:
    nodes.input.GetDisplayNode().AutoWindowLevelOff()
    nodes.input.GetDisplayNode().SetWindowLevel(321.0, 123.0)
    display = nodes.reconstruction.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (321.0, 123.0)
    nodes.heatmap.GetDisplayNode().SetWindowLevelMinMax(3.0, 9.0)
    display = nodes.heatmap.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == SCORE_RANGE


def test_a_slicer_without_the_layer_shows_the_heatmap_in_the_foreground() -> None:
    class Before510:
        """As much of the composite node of Slicer 5.8 as is used."""

        def __init__(self) -> None:
            self.shown: list[Any] = []

        def SetForegroundVolumeID(self, volume_id: Any) -> None:  # noqa: N802 (Slicer's name)
            self.shown.append(volume_id)

        def SetForegroundOpacity(self, opacity: float) -> None:  # noqa: N802
            self.shown.append(opacity)

    old = Before510()
    setTop(old, "heatmap", 0.4)
    assert old.shown == ["heatmap", 0.4]


def test_only_the_chosen_result_is_seen(
    mrml: MrmlApplication, shown: Views, nodes: DetectionNodes, scan: Any, output: DetectionOutput
) -> None:
    second = addDetection(mrml.scene, mrml.logics, scan, output)
    lives = [LiveFindings.fromScene(mrml.logics.segmentations, result) for result in (nodes, second)]
    for live in lives:
        live.showInThreeD(True)
    for chosen, other in ((nodes, second), (second, nodes)):
        shown.show(chosen)
        assert chosen.segmentation.GetDisplayNode().GetVisibility()
        assert not other.segmentation.GetDisplayNode().GetVisibility()
        assert legendOf(chosen.heatmap).GetVisibility() and not legendOf(other.heatmap).GetVisibility()
        assert [live.shownInThreeD for live in lives] == [chosen is nodes, chosen is second]


def outlined(nodes: DetectionNodes) -> bool:
    """Whether the outlines of a detection are shown."""
    return bool(nodes.segmentation.GetDisplayNode().GetVisibility())


def test_outlines_that_the_user_hid_stay_hidden_until_she_asks_for_a_result(
    mrml: MrmlApplication, shown: Views, nodes: DetectionNodes, scan: Any, output: DetectionOutput
) -> None:
    nodes.segmentation.GetDisplayNode().SetVisibility(False)
    shown.show(nodes, FADE)
    assert not outlined(nodes), "another way to look is not another result"
    reloaded = Views(mrml.scene)
    assert reloaded.resume(nodes, FADE, 0.6, 0.5) and not outlined(nodes)
    reloaded.forget()
    second = addDetection(mrml.scene, mrml.logics, scan, output)
    shown.show(second)
    shown.show(nodes)
    assert outlined(nodes) and not outlined(second)
    shown.restore()
    assert not outlined(nodes) and not outlined(second)


@pytest.mark.parametrize("hidden", [False, True], ids=["shown", "hidden by the user"])
def test_a_loaded_scene_shows_the_outlines_that_the_saved_one_did(
    mrml: MrmlApplication, shown: Views, nodes: DetectionNodes, scan: Any, output: DetectionOutput, tmp_path: Path,
    hidden: bool,
) -> None:  # fmt: skip
    second = addDetection(mrml.scene, mrml.logics, scan, output)
    shown.show(second)
    second.segmentation.GetDisplayNode().SetVisibility(not hidden)
    save_scene(mrml, tmp_path / "scene.mrb")
    (tmp_path / "again").mkdir()
    again = create_mrml_application(tmp_path / "again")
    load_scene(again, tmp_path / "scene.mrb")
    first, chosen = findDetections(again.scene)
    views = Views(again.scene)
    views.resume(chosen, HEATMAP, 0.6, 0.5)
    assert (outlined(first), outlined(chosen)) == (False, not hidden)
    again.scene.RemoveNode(chosen.heatmap)
    views.resume(first, HEATMAP, 0.6, 0.5)
    assert outlined(first), "it was hidden for the other result, which is gone"
    views.forget()


def test_a_result_whose_nodes_go_meanwhile_is_no_problem(
    mrml: MrmlApplication, shown: Views, views: dict[str, SliceView], nodes: DetectionNodes
) -> None:
    mrml.scene.RemoveNode(nodes.reconstruction)
    assert shown.flicker() in (True, False)
    mrml.scene.RemoveNode(nodes.heatmap)
    shown.setOpacity(0.2)
    shown.toggleHeatmap()
    views["Axial"].slice_node.SetDimensions(300, 300, 1)
    shown.restore()
    shown.restore()
    shown.forget()
