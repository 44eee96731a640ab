"""Views beside each other: they look at the same, whatever room each has, and a saved scene leads back from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from mrml_application import MrmlApplication, create_mrml_application, load_scene, save_scene
from slice_views import VIEWS, SliceView

from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections
from CondDiffusionUADLib.scene.Views import HEATMAP, SIDE_BY_SIDE, THREE_UP, Views
from CondDiffusionUADLib.scene.ViewsState import seenOf

BESIDE = slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView


def test_views_side_by_side_look_at_the_same_whatever_their_size(
    shown: Views, views: dict[str, SliceView], nodes: DetectionNodes
) -> None:
    left, right = views["Axial"].slice_node, views["Sagittal"].slice_node
    shown.show(nodes, SIDE_BY_SIDE)
    right.SetDimensions(500, 120, 1)  # as the layout gives it its room, later
    left.SetDimensions(250, 240, 1)
    matrices = [[node.GetSliceToRAS().GetElement(r, c) for r in range(3) for c in range(4)] for node in (left, right)]
    np.testing.assert_allclose(*matrices)
    scales = [np.divide(node.GetFieldOfView()[:2], node.GetDimensions()[:2]) for node in (left, right)]
    np.testing.assert_allclose(scales[1], max(scales[0]))
    np.testing.assert_allclose(left.GetXYZOrigin(), right.GetXYZOrigin())


@pytest.mark.parametrize("room", [(90, 400), (400, 90)])
def test_what_was_seen_of_the_scan_is_seen_beside_each_other(
    shown: Views, views: dict[str, SliceView], nodes: DetectionNodes, room: tuple[int, int]
) -> None:
    left = views["Axial"].slice_node
    seen = np.array(seenOf(left, nodes.input))
    shown.show(nodes, THREE_UP)
    for view in views.values():
        view.logic.ResizeSliceNode(3 * room[0], room[1])  # on the way
        view.logic.ResizeSliceNode(*room)
    for view in views.values():
        field = np.array(view.slice_node.GetFieldOfView()[:2])
        assert (field >= seen - 1e-3).all() and (field / seen).min() == pytest.approx(1)
    left.SetFieldOfView(*(np.array(left.GetFieldOfView()) / 3))  # the user zooms
    scale = left.GetFieldOfView()[1] / room[1]
    for view in views.values():
        view.logic.ResizeSliceNode(room[0] + 10, room[1])
    for view in views.values():
        assert view.slice_node.GetFieldOfView()[1] / room[1] == pytest.approx(scale)
    shown.show(nodes, HEATMAP)


def test_a_view_is_left_alone_while_it_tells_of_its_new_size(
    mrml: MrmlApplication, shown: Views, views: dict[str, SliceView], nodes: DetectionNodes
) -> None:
    """Slicer's slice logic does not draw what is changed in the event of a change."""
    shown.forget()
    told: list[str] = []
    result, left = Views(mrml.scene, lambda: told.append("resized")), views["Axial"]
    result.show(nodes, THREE_UP)
    before, seen = left.slice_node.GetFieldOfView(), seenOf(left.slice_node, nodes.input)
    left.logic.ResizeSliceNode(90, 400)
    assert told and any(np.isclose(left.slice_node.GetFieldOfView()[:2], before[:2])), "that is Slicer's own answer"
    result.align()
    assert left.slice_node.GetFieldOfView()[0] == pytest.approx(seen[0])
    result.show(nodes, HEATMAP)
    result.forget()


def test_a_scene_that_was_saved_side_by_side_goes_back_to_ordinary_views(
    mrml: MrmlApplication, shown: Views, layout: Any, nodes: DetectionNodes, tmp_path: Path
) -> None:
    shown.show(nodes, SIDE_BY_SIDE)
    save_scene(mrml, tmp_path / "scene.mrb")
    (tmp_path / "again").mkdir()
    again = create_mrml_application(tmp_path / "again")
    others = [SliceView(again, name, (240, 200)) for name in VIEWS]
    load_scene(again, tmp_path / "scene.mrb")
    other_layout = again.scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    other_layout.SetViewArrangement(BESIDE)
    (loaded,) = findDetections(again.scene)
    result = Views(again.scene)
    assert result.resume(loaded, SIDE_BY_SIDE, 0.6, 0.5)
    result.show(loaded, HEATMAP)
    assert other_layout.GetViewArrangement() != BESIDE
    orientations = {view.slice_node.GetName(): view.slice_node.GetOrientation() for view in others}
    assert orientations == VIEWS
    for view in others:
        view.close()
