"""Threshold, colors, legend and layers of the heatmap."""

from __future__ import annotations

import numpy as np
import pytest
from mrml_application import MrmlApplication
from skimage import color
from slice_views import SliceView

from conddiffusion_uad.detection import colors as engine_colors
from CondDiffusionUADLib.scene import HeatmapDisplay
from CondDiffusionUADLib.scene.HeatmapColors import NUMBER_OF_COLORS, SCORE_RANGE, scoreColor, scoreColorTable
from CondDiffusionUADLib.scene.Nodes import DetectionNodes


def palette() -> np.ndarray:
    return np.array([scoreColor(index / (NUMBER_OF_COLORS - 1)) for index in range(NUMBER_OF_COLORS)])


def test_equal_steps_of_the_score_are_equal_steps_of_lightness() -> None:
    lightness = color.rgb2lab(palette()[None])[0, :, 0]
    steps = np.diff(lightness[:: NUMBER_OF_COLORS // 6])
    assert (np.diff(lightness) > 0).all()
    assert steps.max() < 1.3 * steps.min()


def test_slicer_and_the_overview_picture_show_the_same_colors() -> None:
    assert SCORE_RANGE == (engine_colors.LOWEST_SHOWN, engine_colors.HIGHEST_SHOWN)
    np.testing.assert_allclose(255 * palette(), engine_colors.colors(np.linspace(*SCORE_RANGE, NUMBER_OF_COLORS)))


def test_color_table_is_made_once_and_is_stored_with_the_scene(mrml: MrmlApplication) -> None:
    table = scoreColorTable(mrml.scene)
    assert scoreColorTable(mrml.scene) is table
    assert table.GetStorageNode() is not None
    assert table.GetNumberOfColors() == NUMBER_OF_COLORS
    shown = [0.0] * 4
    table.GetColor(NUMBER_OF_COLORS - 1, shown)
    np.testing.assert_allclose(shown, (*scoreColor(1.0), 1.0), atol=1 / 255)


def test_window_is_the_same_for_every_scan_and_the_threshold_is_the_one_of_the_run(nodes: DetectionNodes) -> None:
    display = nodes.heatmap.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == SCORE_RANGE
    assert not display.GetAutoWindowLevel()
    assert not display.GetAutoThreshold()
    assert display.GetApplyThreshold()
    assert HeatmapDisplay.thresholdOf(nodes.heatmap) == 2.0


@pytest.mark.parametrize("threshold", [1.0, 3.2, 9.0])
def test_threshold_moves_and_stays_below_its_upper_end(nodes: DetectionNodes, threshold: float) -> None:
    HeatmapDisplay.setThreshold(nodes.heatmap, threshold)
    display = nodes.heatmap.GetDisplayNode()
    assert HeatmapDisplay.thresholdOf(nodes.heatmap) == threshold
    assert display.GetUpperThreshold() >= max(threshold, nodes.heatmap.GetImageData().GetScalarRange()[1])


def test_legend_names_the_score_and_labels_whole_numbers(mrml: MrmlApplication, nodes: DetectionNodes) -> None:
    legend = mrml.logics.colors.GetColorLegendDisplayNode(nodes.heatmap)
    assert "Anomaly" in legend.GetTitleText()
    assert "-log10 p" in legend.GetTitleText()
    assert legend.GetNumberOfLabels() == 4
    assert legend.GetVisibility()
    HeatmapDisplay.setLegendVisible(mrml.logics.colors, nodes.heatmap, False)
    assert not legend.GetVisibility()


def test_layers_are_shown_and_restored(
    views: dict[str, SliceView], mrml: MrmlApplication, nodes: DetectionNodes
) -> None:
    composites = [view.composite_node for view in views.values()]
    for composite in composites:
        composite.SetBackgroundVolumeID(nodes.reconstruction.GetID())
        composite.SetForegroundOpacity(0.25)
    previous = HeatmapDisplay.showLayers(mrml.scene, nodes.input, nodes.heatmap, 0.5)
    HeatmapDisplay.setOpacity(mrml.scene, nodes.heatmap, 0.75)
    for composite in composites:
        assert composite.GetBackgroundVolumeID() == nodes.input.GetID()
        assert composite.GetForegroundVolumeID() == nodes.heatmap.GetID()
        assert composite.GetForegroundOpacity() == 0.75
    HeatmapDisplay.restoreLayers(mrml.scene, previous)
    for composite in composites:
        assert composite.GetBackgroundVolumeID() == nodes.reconstruction.GetID()
        assert composite.GetForegroundVolumeID() is None
        assert composite.GetForegroundOpacity() == 0.25


def test_layers_that_are_gone_are_not_restored(
    views: dict[str, SliceView], mrml: MrmlApplication, nodes: DetectionNodes
) -> None:
    composite = views["Axial"].composite_node
    composite.SetBackgroundVolumeID(nodes.reconstruction.GetID())
    previous = HeatmapDisplay.showLayers(mrml.scene, nodes.input, nodes.heatmap)
    mrml.scene.RemoveNode(nodes.reconstruction)
    HeatmapDisplay.restoreLayers(mrml.scene, previous)
    assert composite.GetBackgroundVolumeID() is None


def test_opacity_leaves_views_alone_that_show_something_else(
    views: dict[str, SliceView], mrml: MrmlApplication, nodes: DetectionNodes
) -> None:
    other = views["Axial"].composite_node
    other.SetForegroundVolumeID(nodes.reconstruction.GetID())
    other.SetForegroundOpacity(0.1)
    HeatmapDisplay.setOpacity(mrml.scene, nodes.heatmap, 0.9)
    assert other.GetForegroundOpacity() == 0.1
