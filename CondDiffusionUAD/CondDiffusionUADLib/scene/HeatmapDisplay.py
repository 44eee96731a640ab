"""How the heatmap is shown: threshold, colors, legend, and the layers of the slice views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from CondDiffusionUADLib.scene.HeatmapColors import NUMBER_OF_COLORS, SCORE_RANGE, scoreColorTable

LEGEND_TITLE = "Anomaly score\n(-log10 p)"
LEGEND_SIZE = (0.12, 0.3)  # width and height in fractions of the view
LEGEND_POSITION = (0.97, 0.05)  # lower right, where a brain leaves room
LEGEND_FONT_SIZE = 14
DEFAULT_OPACITY = 0.6


def showAsHeatmap(scene: Any, heatmapNode: Any, threshold: float) -> None:
    """Color a volume of anomaly scores; what lies below the threshold is transparent."""
    heatmapNode.CreateDefaultDisplayNodes()
    display = heatmapNode.GetDisplayNode()
    display.SetAndObserveColorNodeID(scoreColorTable(scene).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*SCORE_RANGE)
    display.SetInterpolate(True)
    setThreshold(heatmapNode, threshold)


def setThreshold(heatmapNode: Any, threshold: float) -> None:
    """Make all scores below the threshold transparent."""
    display = heatmapNode.GetDisplayNode()
    _, highest = heatmapNode.GetImageData().GetScalarRange()
    display.AutoThresholdOff()
    display.SetThreshold(threshold, max(highest, threshold))
    display.ApplyThresholdOn()


def thresholdOf(heatmapNode: Any) -> float:
    """The score below which the heatmap is transparent."""
    return heatmapNode.GetDisplayNode().GetLowerThreshold()


def addLegend(colorsLogic: Any, heatmapNode: Any) -> Any:
    """Show a color legend beside the heatmap in every view that shows it; returns its display node."""
    legend = colorsLogic.AddDefaultColorLegendDisplayNode(heatmapNode)
    legend.SetTitleText(LEGEND_TITLE)
    legend.SetNumberOfLabels(round(SCORE_RANGE[1] - SCORE_RANGE[0]) + 1)
    legend.SetMaxNumberOfColors(NUMBER_OF_COLORS)
    legend.SetLabelFormat("%.0f")
    for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
        text.SetFontSize(LEGEND_FONT_SIZE)
    legend.SetSize(*LEGEND_SIZE)
    legend.SetPosition(*LEGEND_POSITION)
    legend.SetVisibility(True)
    return legend


def setLegendVisible(colorsLogic: Any, heatmapNode: Any, visible: bool) -> None:
    """Show or hide the color legend of the heatmap."""
    legend = colorsLogic.GetColorLegendDisplayNode(heatmapNode)
    if legend:
        legend.SetVisibility(visible)


@dataclass(frozen=True)
class Layers:
    """What one slice view shows: IDs of the composite node and of its volumes (None: no volume), and the opacity."""

    compositeId: str
    background: str | None
    foreground: str | None
    foregroundOpacity: float


def showLayers(scene: Any, background: Any, foreground: Any, opacity: float = DEFAULT_OPACITY) -> list[Layers]:
    """Show the volumes (None: no volume) in all slice views; returns what they showed before, for `restoreLayers`."""
    previous = []
    for composite in _compositeNodes(scene):
        previous.append(
            Layers(
                composite.GetID(),
                composite.GetBackgroundVolumeID(),
                composite.GetForegroundVolumeID(),
                composite.GetForegroundOpacity(),
            )
        )
        identifiers = (node.GetID() if node else None for node in (background, foreground))
        _setLayers(composite, *identifiers, opacity)
    _updateLegends(scene)
    return previous


def restoreLayers(scene: Any, previous: list[Layers]) -> None:
    """Show again what the slice views showed before; views and volumes that are gone are left out."""
    for layers in previous:
        composite = scene.GetNodeByID(layers.compositeId)
        if composite:
            present = (i if i and scene.GetNodeByID(i) else None for i in (layers.background, layers.foreground))
            _setLayers(composite, *present, layers.foregroundOpacity)
    _updateLegends(scene)


def setOpacity(scene: Any, heatmapNode: Any, opacity: float) -> None:
    """Set the opacity (0..1) of the heatmap in the slice views that show it as foreground."""
    for composite in _compositeNodes(scene):
        if composite.GetForegroundVolumeID() == heatmapNode.GetID():
            composite.SetForegroundOpacity(opacity)


def _setLayers(composite: Any, background: str | None, foreground: str | None, opacity: float) -> None:
    composite.SetBackgroundVolumeID(background)
    composite.SetForegroundVolumeID(foreground)
    composite.SetForegroundOpacity(opacity)


def _updateLegends(scene: Any) -> None:
    """Let the views show the legends of what they show now: by themselves they notice only the user's changes."""
    for legend in _nodes(scene, "vtkMRMLColorLegendDisplayNode"):
        legend.Modified()


def _compositeNodes(scene: Any) -> Iterator[Any]:
    return _nodes(scene, "vtkMRMLSliceCompositeNode")


def _nodes(scene: Any, className: str) -> Iterator[Any]:
    for index in range(scene.GetNumberOfNodesByClass(className)):
        yield scene.GetNthNodeByClass(index, className)
