"""Colors, fixed scale and legend of a volume that is shown over a scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer

from CondDiffusionUADLib.scene.Nodes import ROLE_ATTRIBUTE, nodesOf

NUMBER_OF_COLORS = 256

LEGEND_PIXELS = (180, 36)  # width and height: text in it is as large whatever the size of the view
LEGEND_RIGHT = 0.85  # of the room beside it: Slicer names the volumes on the left, and the title has to fit
LEGEND_MARGIN_PIXELS = 6  # above the lower edge of the view, where the ruler ends
LEGEND_MOST = (0.9, 0.2)  # of a small view
LEGEND_NAMES = (160, 32)  # pixels that the name of a volume takes on the left, and up to where its line reaches
LEGEND_FONT_SIZE = 12

_SCALE_ROLE = "legendScale"


@dataclass(frozen=True)
class Scale:
    """What the colors of a volume mean, the same for every scan so that its pictures compare.

    Attributes:
        role: Tells its color table from others.
        name: Of the color table.
        description: Of the color table.
        title: Of the legend, in one line.
        range: Values of the first and the last color.
        anchors: Colors (red, green, blue, 0..255) at equal steps of the range.
        labels: Of the legend, in all.
        labelFormat: Of one of them.
    """

    role: str
    name: str
    description: str
    title: str
    range: tuple[float, float]
    anchors: tuple[tuple[int, int, int], ...]
    labels: int
    labelFormat: str

    def color(self, fraction: float) -> tuple[float, float, float]:
        """The color (red, green, blue in 0..1) at a fraction 0..1 of the range."""
        place = min(max(fraction, 0.0), 1.0) * (len(self.anchors) - 1)
        index = min(int(place), len(self.anchors) - 2)
        low, high = self.anchors[index], self.anchors[index + 1]
        red, green, blue = ((a + (b - a) * (place - index)) / 255 for a, b in zip(low, high, strict=True))
        return red, green, blue


def colorTable(scene: Any, scale: Scale) -> Any:
    """The color table node of a scale in the scene, made on first use.

    It has a storage node: a table without one is lost when the scene is saved.
    """
    for node in nodesOf(scene, "vtkMRMLColorTableNode"):
        if node.GetAttribute(ROLE_ATTRIBUTE) == scale.role and node.GetNumberOfColors() == NUMBER_OF_COLORS:
            return node
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", scale.name)
    table.SetTypeToUser()
    table.SetNumberOfColors(NUMBER_OF_COLORS)
    for index in range(NUMBER_OF_COLORS):
        table.SetColor(index, f"color {index}", *scale.color(index / (NUMBER_OF_COLORS - 1)), 1.0)
    table.GetLookupTable().SetRange(0, NUMBER_OF_COLORS - 1)
    table.SetAttribute(ROLE_ATTRIBUTE, scale.role)
    table.SetDescription(scale.description)
    table.AddDefaultStorageNode()
    return table


def showColored(scene: Any, volumeNode: Any, scale: Scale, threshold: float) -> None:
    """Color a volume; what lies below the threshold is transparent. A legend that it has stays."""
    legend = legendOf(volumeNode)
    volumeNode.CreateDefaultDisplayNodes()
    if legend is not None and legendOf(volumeNode) is None:  # it stood in the place of a display that was deleted
        volumeNode.AddAndObserveDisplayNodeID(legend.GetID())
    display = volumeNode.GetVolumeDisplayNode()
    display.SetAndObserveColorNodeID(colorTable(scene, scale).GetID())
    display.SetInterpolate(True)
    pin(volumeNode, scale)
    setThreshold(volumeNode, threshold)


def pin(volumeNode: Any, scale: Scale) -> None:
    """Give a volume its fixed scale, which a drag with the mouse may have changed."""
    display = volumeNode.GetVolumeDisplayNode()  # `GetDisplayNode` gives the legend's when the volume's was deleted
    if display is not None and (display.GetWindowLevelMin(), display.GetWindowLevelMax()) != scale.range:
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(*scale.range)


def setThreshold(volumeNode: Any, threshold: float) -> None:
    """Make all values below the threshold transparent."""
    display = volumeNode.GetVolumeDisplayNode()
    _lowest, highest = volumeNode.GetImageData().GetScalarRange()
    modifying = display.StartModify()
    display.AutoThresholdOff()
    display.SetThreshold(threshold, max(highest, threshold))
    display.ApplyThresholdOn()
    display.EndModify(modifying)


def addLegend(colorsLogic: Any, volumeNode: Any, scale: Scale) -> Any:
    """Make the color legend of a volume, hidden until `showLegend`; returns its display node.

    Slicer shows a volume's legend only where the volume is in one of the three classic layers, and ours is not (see
    `Views`). So the legend takes its colors, its scale and where it is seen from a display node of its own; that also
    keeps the scale fixed.
    """
    legend = colorsLogic.AddDefaultColorLegendDisplayNode(volumeNode)
    scene = volumeNode.GetScene()
    display = scene.AddNewNodeByClass("vtkMRMLModelDisplayNode", f"{volumeNode.GetName()} legend")
    display.SetAttribute(ROLE_ATTRIBUTE, _SCALE_ROLE)
    display.SetAndObserveColorNodeID(colorTable(scene, scale).GetID())
    display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
    display.SetScalarRange(*scale.range)
    display.SetVisibility2D(True)
    legend.SetAndObservePrimaryDisplayNode(display)
    legend.SetTitleText(scale.title)
    legend.SetNumberOfLabels(scale.labels)
    legend.SetMaxNumberOfColors(NUMBER_OF_COLORS)
    legend.SetLabelFormat(scale.labelFormat)
    for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
        text.SetFontSize(LEGEND_FONT_SIZE)
    legend.SetOrientation(legend.Horizontal)
    legend.SetVisibility(False)
    return legend


def legendOf(volumeNode: Any) -> Any:
    """The color legend of a volume, or None."""
    displays = (volumeNode.GetNthDisplayNode(index) for index in range(volumeNode.GetNumberOfDisplayNodes()))
    return next((node for node in displays if node and node.IsA("vtkMRMLColorLegendDisplayNode")), None)


def showLegend(volumeNode: Any, sliceNode: Any) -> None:
    """Show the color legend of a volume in one slice view, below the brain, or nowhere (None)."""
    legend = legendOf(volumeNode)
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
