"""What the user sees: Slicer's slice views, drawn, and their pixels compared with the voxels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vtk
from mrml_application import MrmlApplication, create_mrml_application, load_scene, load_volume, save_scene
from scipy import ndimage
from slice_views import VIEWS, SliceView

from CondDiffusionUADLib.run.DetectionOutput import readDetectionOutput
from CondDiffusionUADLib.scene import Colors
from CondDiffusionUADLib.scene.CandidateSegmentation import OPEN_COLOR
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections
from CondDiffusionUADLib.scene.Scene import addDetection
from CondDiffusionUADLib.scene.Views import HEATMAP, Views


def colored(picture: np.ndarray) -> np.ndarray:
    """Where the picture is not gray: boolean, (row, column)."""
    return np.ptp(picture.astype(int), axis=2) > 40


def voxels_of_pixels(view: SliceView, volume: Any) -> tuple[np.ndarray, np.ndarray]:
    """The nearest voxel (z, y, x) of each pixel, (3, height, width), and whether there is one."""
    width, height, _ = view.slice_node.GetDimensions()
    chain = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(chain)
    if volume.GetParentTransformNode():
        world = vtk.vtkMatrix4x4()
        volume.GetParentTransformNode().GetMatrixTransformFromWorld(world)
        vtk.vtkMatrix4x4.Multiply4x4(chain, world, chain)
    vtk.vtkMatrix4x4.Multiply4x4(chain, view.slice_node.GetXYToRAS(), chain)
    matrix = np.array([[chain.GetElement(row, column) for column in range(4)] for row in range(3)])
    rows, columns = np.indices((height, width))
    pixels = np.stack([columns, height - 1 - rows, np.zeros_like(rows), np.ones_like(rows)]).reshape(4, -1)
    indices = np.round(matrix @ pixels).astype(int).reshape(3, height, width)[::-1]
    size = np.array(volume.GetImageData().GetDimensions())[::-1, None, None]
    return indices, ((indices >= 1) & (indices < size - 1)).all(axis=0)


def assert_colored_where_the_score_says(view: SliceView, nodes: DetectionNodes, score: np.ndarray, at: float) -> None:
    """Voxels whose whole neighborhood is above the threshold are colored, those with none above are not."""
    indices, inside = voxels_of_pixels(view, nodes.heatmap)
    place = tuple(np.where(inside, indices, 0))
    certain = ndimage.minimum_filter(score, 3)[place] >= at
    possible = ndimage.maximum_filter(score, 3)[place] >= at
    shown = colored(view.picture())
    assert (certain & inside).sum() > 20
    assert shown[certain & inside].all()
    assert not shown[~possible & inside].any()


def show(mrml: MrmlApplication, case: Any, transform: Any = None, *, legend: bool = False) -> DetectionNodes:
    scan = load_volume(mrml, case.scan, "scan")
    if transform:
        scan.SetAndObserveTransformNodeID(transform.GetID())
    nodes = addDetection(mrml.scene, mrml.logics, scan, readDetectionOutput(case.folder))
    shown = Views(mrml.scene)
    shown.setLegendVisible(legend)
    shown.show(nodes, opacity=1.0)
    return nodes


def only_heatmap(nodes: DetectionNodes) -> None:
    nodes.segmentation.GetDisplayNode().SetVisibility(False)


def world_center(nodes: DetectionNodes, case: Any, number: int = 1) -> tuple[float, float, float]:
    """The center of a finding in the world, computed from the labels."""
    center = np.argwhere(case.labels == number).mean(axis=0)[::-1]
    matrix = vtk.vtkMatrix4x4()
    nodes.heatmap.GetIJKToRASMatrix(matrix)
    point = matrix.MultiplyPoint((*np.round(center), 1.0))
    if nodes.heatmap.GetParentTransformNode():
        world = vtk.vtkMatrix4x4()
        nodes.heatmap.GetParentTransformNode().GetMatrixTransformToWorld(world)
        point = world.MultiplyPoint(point)
    return point[:3]


def test_heatmap_is_drawn_where_the_finding_is(
    views: dict[str, SliceView], mrml: MrmlApplication, any_case: Any
) -> None:
    nodes = show(mrml, any_case)
    only_heatmap(nodes)
    for view in views.values():
        view.look_at(world_center(nodes, any_case))
        assert_colored_where_the_score_says(view, nodes, any_case.score, 2.0)


def test_heatmap_follows_the_parent_transform(views: dict[str, SliceView], mrml: MrmlApplication, case: Any) -> None:
    transform = mrml.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    pose = vtk.vtkTransform()
    pose.Translate(30, -10, 5)
    pose.RotateZ(20)
    transform.SetMatrixTransformToParent(pose.GetMatrix())
    nodes = show(mrml, case, transform)
    only_heatmap(nodes)
    views["Axial"].look_at(world_center(nodes, case))
    assert_colored_where_the_score_says(views["Axial"], nodes, case.score, 2.0)


def test_patient_right_is_left_and_anterior_is_up(
    views: dict[str, SliceView], mrml: MrmlApplication, any_case: Any
) -> None:
    nodes = show(mrml, any_case)
    only_heatmap(nodes)
    view = views["Axial"]
    first, second = (world_center(nodes, any_case, number) for number in (1, 2))
    view.look_at(first)
    row, column = view.pixel_of(first)
    other_row, other_column = view.pixel_of(second)
    assert (column < other_column) == (first[0] > second[0])
    assert (row < other_row) == (first[1] > second[1])
    shown = np.argwhere(colored(view.picture())).mean(axis=0)
    np.testing.assert_allclose(shown, (row, column), atol=6)


@pytest.mark.parametrize(("threshold", "pixels"), [(3.0, True), (3.5, False)])
def test_nothing_is_colored_below_the_threshold(
    views: dict[str, SliceView], mrml: MrmlApplication, case: Any, threshold: float, pixels: bool
) -> None:
    nodes = show(mrml, case)
    only_heatmap(nodes)
    Colors.setThreshold(nodes.heatmap, threshold)
    views["Coronal"].look_at(world_center(nodes, case))
    assert colored(views["Coronal"].picture()).any() == pixels


def test_opacity_lets_the_scan_through(views: dict[str, SliceView], mrml: MrmlApplication, case: Any) -> None:
    nodes = show(mrml, case)
    shown = Views(mrml.scene)
    shown.setLegendVisible(False)
    shown.show(nodes, opacity=1.0)
    only_heatmap(nodes)
    view = views["Axial"]
    view.look_at(world_center(nodes, case))
    opaque = view.picture()
    shown.setOpacity(0.0)
    assert not colored(view.picture()).any()
    assert colored(opaque).any()


def test_outline_surrounds_the_finding(views: dict[str, SliceView], mrml: MrmlApplication, case: Any) -> None:
    nodes = show(mrml, case)
    view = views["Axial"]
    view.look_at(world_center(nodes, case))
    outline = np.abs(view.picture() - 255 * np.array(OPEN_COLOR)).sum(axis=2) < 60
    filled = ndimage.binary_fill_holes(outline)
    row, column = view.pixel_of(world_center(nodes, case))
    assert outline.sum() > 30
    assert filled[row, column] and not outline[row, column]


def legend_pixels(view: SliceView) -> np.ndarray:
    """Row and column of the colored pixels; nothing else is colored."""
    return np.argwhere(colored(view.picture()))


def test_legend_is_drawn_once_below_the_brain(views: dict[str, SliceView], mrml: MrmlApplication, case: Any) -> None:
    nodes = show(mrml, case, legend=True)
    nodes.segmentation.GetDisplayNode().SetVisibility(False)
    Colors.setThreshold(nodes.heatmap, 9.0)
    for view in views.values():
        view.look_at(world_center(nodes, case))
    bar = legend_pixels(views["Axial"])
    assert len(bar) > 100
    assert bar[:, 0].min() > 0.8 * views["Axial"].picture().shape[0]
    for name in ("Sagittal", "Coronal"):
        assert not len(legend_pixels(views[name]))


@pytest.mark.usefixtures("_can_draw")
@pytest.mark.parametrize("size", [(400, 300), (1200, 900)])
def test_text_of_the_legend_is_as_large_in_any_view(mrml: MrmlApplication, case: Any, size: tuple[int, int]) -> None:
    view = SliceView(mrml, "Red", size)
    nodes = show(mrml, case, legend=True)
    nodes.segmentation.GetDisplayNode().SetVisibility(False)
    Colors.setThreshold(nodes.heatmap, 9.0)
    view.look_at(world_center(nodes, case))
    lit = np.argwhere(view.picture()[-44:].max(axis=2) > 150)  # below the brain
    view.close()
    np.testing.assert_allclose(np.ptp(lit, axis=0), (38, 205), atol=12)


def test_a_drag_changes_the_window_of_the_scan(views: dict[str, SliceView], mrml: MrmlApplication, case: Any) -> None:
    """Slicer's own answer to which layer a drag edits, at a place inside of the finding."""
    nodes = show(mrml, case)
    place = world_center(nodes, case)
    view = views["Axial"]
    view.look_at(place)
    assert colored(view.picture()).any()
    layer = view.logic.GetEditableLayerAtWorldPosition(place)
    assert view.logic.GetLayerVolumeNode(layer) is nodes.input


def test_loaded_scene_looks_as_it_did(
    views: dict[str, SliceView], mrml: MrmlApplication, case: Any, tmp_path: Path
) -> None:
    nodes = show(mrml, case, legend=True)
    place = world_center(nodes, case)
    for view in views.values():
        view.look_at(place)
    before = [view.picture() for view in views.values()]
    save_scene(mrml, tmp_path / "scene.mrb")
    temporary = tmp_path / "again"
    temporary.mkdir()
    again = create_mrml_application(temporary)
    others = [SliceView(again, name, (240, 200)) for name in VIEWS]
    try:
        load_scene(again, tmp_path / "scene.mrb")
        (loaded,) = findDetections(again.scene)
        assert Views(again.scene).resume(loaded, HEATMAP, 1.0, 0.0)
        for view, picture in zip(others, before, strict=True):
            view.look_at(place)
            np.testing.assert_array_equal(view.picture(), picture)
    finally:
        for view in others:
            view.close()
