"""Threshold, colors, legend and layers of the heatmap."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from mrml_application import MrmlApplication
from skimage import color

from conddiffusion_uad.detection import colors as engine_colors
from CondDiffusionUADLib.scene import Colors, Heatmap
from CondDiffusionUADLib.scene.Colors import NUMBER_OF_COLORS, Scale, colorTable, legendOf
from CondDiffusionUADLib.scene.Heatmap import SCORE, SCORE_RANGE
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import ROLE_ATTRIBUTE, DetectionNodes
from CondDiffusionUADLib.scene.Uncertainty import UNCERTAINTY
from CondDiffusionUADLib.scene.Views import Views


def palette(scale: Scale) -> np.ndarray:
    return np.array([scale.color(index / (NUMBER_OF_COLORS - 1)) for index in range(NUMBER_OF_COLORS)])


@pytest.mark.parametrize("scale", [SCORE, UNCERTAINTY])
def test_equal_steps_are_equal_steps_of_lightness(scale: Scale) -> None:
    lightness = color.rgb2lab(palette(scale)[None])[0, :, 0]
    steps = np.diff(lightness[:: NUMBER_OF_COLORS // 6])
    assert (np.diff(lightness) > 0).all()
    assert steps.max() < 1.3 * steps.min()


def test_no_color_means_both_a_score_and_its_uncertainty() -> None:
    score, uncertainty = (color.rgb2lab(palette(scale)[None])[0] for scale in (SCORE, UNCERTAINTY))
    assert np.linalg.norm(score[:, None] - uncertainty[None], axis=2).min() > 50


def test_slicer_and_the_overview_picture_show_the_same_colors() -> None:
    assert SCORE_RANGE == (engine_colors.LOWEST_SHOWN, engine_colors.HIGHEST_SHOWN)
    np.testing.assert_allclose(255 * palette(SCORE), engine_colors.colors(np.linspace(*SCORE_RANGE, NUMBER_OF_COLORS)))


def test_color_table_is_made_once_and_is_stored_with_the_scene(mrml: MrmlApplication) -> None:
    table = colorTable(mrml.scene, SCORE)
    assert colorTable(mrml.scene, SCORE) is table and colorTable(mrml.scene, UNCERTAINTY) is not table
    assert table.GetStorageNode() is not None
    assert table.GetNumberOfColors() == NUMBER_OF_COLORS
    shown = [0.0] * 4
    table.GetColor(NUMBER_OF_COLORS - 1, shown)
    np.testing.assert_allclose(shown, (*SCORE.color(1.0), 1.0), atol=1 / 255)


def test_window_is_the_same_for_every_scan_and_the_threshold_is_the_one_of_the_run(nodes: DetectionNodes) -> None:
    display = nodes.heatmap.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == SCORE_RANGE
    assert not display.GetAutoWindowLevel()
    assert not display.GetAutoThreshold()
    assert display.GetApplyThreshold()
    assert Heatmap.thresholdOf(nodes.heatmap) == 2.0


@pytest.mark.parametrize("threshold", [1.0, 3.2, 9.0])
def test_threshold_moves_and_stays_below_its_upper_end(nodes: DetectionNodes, threshold: float) -> None:
    Colors.setThreshold(nodes.heatmap, threshold)
    display = nodes.heatmap.GetDisplayNode()
    assert Heatmap.thresholdOf(nodes.heatmap) == threshold
    assert display.GetUpperThreshold() >= max(threshold, nodes.heatmap.GetImageData().GetScalarRange()[1])


def test_legend_names_the_score_in_one_line_and_labels_whole_numbers(nodes: DetectionNodes) -> None:
    legend = Colors.legendOf(nodes.heatmap)
    assert "Anomaly" in legend.GetTitleText()
    assert "-log10 p" in legend.GetTitleText()
    assert legend.GetNumberOfLabels() == 6
    assert "\n" not in legend.GetTitleText()
    assert not legend.GetVisibility(), "until a view shows the heatmap"


@pytest.mark.parametrize(("width", "lifted"), [(307, True), (330, True), (477, False), (992, False)])
def test_the_legend_leaves_the_name_of_the_volume_free(nodes: DetectionNodes, width: int, lifted: bool) -> None:
    view = slicer.vtkMRMLSliceNode()
    nodes.heatmap.GetScene().AddNode(view)
    view.SetDimensions(width, 600, 1)
    Colors.showLegend(nodes.heatmap, view)
    legend = Colors.legendOf(nodes.heatmap)
    left = legend.GetPosition()[0] * (1 - legend.GetSize()[1]) * width
    bottom = legend.GetPosition()[1] * 600
    assert (left > 160) != lifted, "pixels that Slicer gives to the name"
    assert bottom == pytest.approx(38 if lifted else 6)


def test_a_scale_that_somebody_changed_is_fixed_again_and_the_legend_never_knew(nodes: DetectionNodes) -> None:
    display = nodes.heatmap.GetDisplayNode()
    display.SetWindowLevelMinMax(2.0, 9.0)
    assert Colors.legendOf(nodes.heatmap).GetPrimaryDisplayNode().GetScalarRange() == SCORE_RANGE
    Colors.pin(nodes.heatmap, SCORE)
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == SCORE_RANGE


def test_a_score_beyond_the_colors_is_told_as_a_number() -> None:
    assert [Heatmap.scoreText(score) for score in (1.04, 3.96, 4.0, 4.01, 32.0)] == ["1.0", "4.0", "4.0", "4.0", "32.0"]


def test_a_deleted_display_is_made_again(mrml: MrmlApplication, nodes: DetectionNodes) -> None:
    """Slicer's list of all nodes lets a user delete it; the first display of the volume is then that of its legend."""
    live = LiveFindings.fromScene(mrml.logics.segmentations, nodes)
    live.show(2.5, 0.0)
    mrml.scene.RemoveNode(nodes.heatmap.GetDisplayNode())
    assert legendOf(nodes.heatmap) is not None and Heatmap.thresholdOf(nodes.heatmap) is None
    live.refresh()
    assert live.threshold == 2.5, "as it was shown"
    views = Views(mrml.scene)
    views.show(nodes)
    live.show(2.25, 0.0)
    views.show(nodes)
    display = nodes.heatmap.GetVolumeDisplayNode()
    assert Heatmap.thresholdOf(nodes.heatmap) == 2.25 and display.GetWindowLevelMax() == Heatmap.SCORE_RANGE[1]
    assert display.GetColorNode().GetAttribute(ROLE_ATTRIBUTE) == Heatmap.SCORE.role
    assert legendOf(nodes.heatmap) is not None
    views.forget()
