"""How the heatmap looks: colors, fixed scale, threshold and legend."""

from __future__ import annotations

from typing import Any

import slicer

from CondDiffusionUADLib.scene.Nodes import ROLE_ATTRIBUTE, nodesOf

SCORE_RANGE = (1.0, 4.0)
"""Scores of the first and the last color, the same for every scan so that heatmaps compare: from 1 in 10 to 1 in 10,000
healthy voxels. The sensitivity slider begins with the first and reaches at least the last."""

HIGHEST_THRESHOLD = 10.0
"""The score that a threshold may have at most: few false findings of a model may take one beyond the colors."""

NUMBER_OF_COLORS = 256
TABLE_NAME = "CondDiffusionUAD anomaly score"
DEFAULT_OPACITY = 0.6

LEGEND_TITLE = "Anomaly score (-log10 p)"
LEGEND_PIXELS = (180, 36)  # width and height: text in it is as large whatever the size of the view
LEGEND_RIGHT = 0.85  # of the room beside it: Slicer names the volumes on the left, and the title has to fit
LEGEND_MARGIN_PIXELS = 6  # above the lower edge of the view, where the ruler ends
LEGEND_MOST = (0.9, 0.2)  # of a small view
LEGEND_NAMES = (160, 32)  # pixels that the name of a volume takes on the left, and up to where its line reaches
LEGEND_FONT_SIZE = 12

# From violet through red to yellow in equal steps of CIELAB lightness (28 to 92): equal steps of the score look equal,
# in gray too, and no hue of it occurs in a gray scan. The engine paints its overview.png with the same colors.
_ANCHORS = (
    (101, 4, 162),
    (173, 8, 124),
    (230, 13, 94),
    (254, 86, 73),
    (255, 144, 75),
    (255, 190, 87),
    (254, 235, 23),
)
_TABLE_ROLE = "scoreColors"
_SCALE_ROLE = "legendScale"


def scoreColor(fraction: float) -> tuple[float, float, float]:
    """The color (red, green, blue in 0..1) at a fraction 0..1 of `SCORE_RANGE`."""
    place = min(max(fraction, 0.0), 1.0) * (len(_ANCHORS) - 1)
    index = min(int(place), len(_ANCHORS) - 2)
    low, high = _ANCHORS[index], _ANCHORS[index + 1]
    red, green, blue = ((a + (b - a) * (place - index)) / 255 for a, b in zip(low, high, strict=True))
    return red, green, blue


def scoreColorTable(scene: Any) -> Any:
    """The color table node of the scene, made on first use.

    It has a storage node: a table without one is lost when the scene is saved.
    """
    for node in nodesOf(scene, "vtkMRMLColorTableNode"):
        if node.GetAttribute(ROLE_ATTRIBUTE) == _TABLE_ROLE and node.GetNumberOfColors() == NUMBER_OF_COLORS:
            return node
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", TABLE_NAME)
    table.SetTypeToUser()
    table.SetNumberOfColors(NUMBER_OF_COLORS)
    for index in range(NUMBER_OF_COLORS):
        table.SetColor(index, f"color {index}", *scoreColor(index / (NUMBER_OF_COLORS - 1)), 1.0)
    table.GetLookupTable().SetRange(0, NUMBER_OF_COLORS - 1)
    table.SetAttribute(ROLE_ATTRIBUTE, _TABLE_ROLE)
    table.SetDescription("Anomaly score -log10(p): violet 1, yellow 4 and above")
    table.AddDefaultStorageNode()
    return table


def showAsHeatmap(scene: Any, heatmapNode: Any, threshold: float) -> None:
    """Color a volume of anomaly scores; what lies below the threshold is transparent."""
    heatmapNode.CreateDefaultDisplayNodes()
    display = heatmapNode.GetDisplayNode()
    display.SetAndObserveColorNodeID(scoreColorTable(scene).GetID())
    display.SetInterpolate(True)
    pinScale(heatmapNode)
    setThreshold(heatmapNode, threshold)


def pinScale(heatmapNode: Any) -> None:
    """Give the heatmap its fixed scale, which a drag with the mouse may have changed."""
    display = heatmapNode.GetDisplayNode()
    if display is not None and (display.GetWindowLevelMin(), display.GetWindowLevelMax()) != SCORE_RANGE:
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(*SCORE_RANGE)


def setThreshold(heatmapNode: Any, threshold: float) -> None:
    """Make all scores below the threshold transparent."""
    display = heatmapNode.GetDisplayNode()
    _lowest, highest = heatmapNode.GetImageData().GetScalarRange()
    modifying = display.StartModify()
    display.AutoThresholdOff()
    display.SetThreshold(threshold, max(highest, threshold))
    display.ApplyThresholdOn()
    display.EndModify(modifying)


def thresholdOf(heatmapNode: Any) -> float:
    """The score below which the heatmap is transparent."""
    display = heatmapNode.GetDisplayNode()
    return float(display.GetLowerThreshold()) if display is not None else SCORE_RANGE[0]


def scoreText(score: float) -> str:
    """A score for people: beyond the scale only that it is, for so few healthy voxels tell no more."""
    return f"{score:.1f}" if score <= SCORE_RANGE[1] else f"> {SCORE_RANGE[1]:.0f}"


def addLegend(colorsLogic: Any, heatmapNode: Any) -> Any:
    """Make the color legend of the heatmap, hidden until `showLegend`; returns its display node.

    Slicer shows a volume's legend only where the volume is in one of the three classic layers, and the heatmap is not
    (see `Views`). So the legend takes its colors, its scale and where it is seen from a display node of its own; that
    also keeps the scale fixed.
    """
    legend = colorsLogic.AddDefaultColorLegendDisplayNode(heatmapNode)
    scene = heatmapNode.GetScene()
    scale = scene.AddNewNodeByClass("vtkMRMLModelDisplayNode", f"{heatmapNode.GetName()} legend")
    scale.SetAttribute(ROLE_ATTRIBUTE, _SCALE_ROLE)
    scale.SetAndObserveColorNodeID(scoreColorTable(scene).GetID())
    scale.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
    scale.SetScalarRange(*SCORE_RANGE)
    scale.SetVisibility2D(True)
    legend.SetAndObservePrimaryDisplayNode(scale)
    legend.SetTitleText(LEGEND_TITLE)
    legend.SetNumberOfLabels(round(SCORE_RANGE[1] - SCORE_RANGE[0]) + 1)
    legend.SetMaxNumberOfColors(NUMBER_OF_COLORS)
    legend.SetLabelFormat("%.0f")
    for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
        text.SetFontSize(LEGEND_FONT_SIZE)
    legend.SetOrientation(legend.Horizontal)
    legend.SetVisibility(False)
    return legend


def legendOf(heatmapNode: Any) -> Any:
    """The color legend of the heatmap, or None."""
    displays = (heatmapNode.GetNthDisplayNode(index) for index in range(heatmapNode.GetNumberOfDisplayNodes()))
    return next((node for node in displays if node and node.IsA("vtkMRMLColorLegendDisplayNode")), None)


def showLegend(heatmapNode: Any, sliceNode: Any) -> None:
    """Show the color legend of the heatmap in one slice view, below the brain, or nowhere (None)."""
    legend = legendOf(heatmapNode)
    if legend is None:
        return
    modifying = legend.StartModify()
    legend.SetVisibility(sliceNode is not None)
    if sliceNode is not None:
        legend.SetViewNodeIDs([sliceNode.GetID()])
        width, height = (max(1, size) for size in sliceNode.GetDimensions()[:2])
        wide, high = min(LEGEND_PIXELS[0] / width, LEGEND_MOST[0]), min(LEGEND_PIXELS[1] / height, LEGEND_MOST[1])
        legend.SetSize(high, wide)  # of a lying legend, the height comes first
        beside = LEGEND_RIGHT * (1 - wide) * width > LEGEND_NAMES[0]
        legend.SetPosition(LEGEND_RIGHT, (LEGEND_MARGIN_PIXELS + (0 if beside else LEGEND_NAMES[1])) / height)
    legend.Modified()  # by themselves the views notice only what the user does
    legend.EndModify(modifying)
