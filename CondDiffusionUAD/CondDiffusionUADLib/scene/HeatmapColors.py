"""The colors of the anomaly score: one table a scene, saved with it."""

from __future__ import annotations

from typing import Any

SCORE_RANGE = (1.0, 4.0)
"""Scores of the first and the last color, the same for every scan so that heatmaps compare: the range of the
sensitivity slider, from 1 in 10 to 1 in 10,000 healthy voxels."""

NUMBER_OF_COLORS = 256
TABLE_NAME = "CondDiffusionUAD anomaly score"

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
_ROLE = "CondDiffusionUAD.Role"
_TABLE_ROLE = "scoreColors"


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
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLColorTableNode")
        if node.GetAttribute(_ROLE) == _TABLE_ROLE:
            return node
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", TABLE_NAME)
    table.SetTypeToUser()
    table.SetNumberOfColors(NUMBER_OF_COLORS)
    for index in range(NUMBER_OF_COLORS):
        table.SetColor(index, f"color {index}", *scoreColor(index / (NUMBER_OF_COLORS - 1)), 1.0)
    table.GetLookupTable().SetRange(0, NUMBER_OF_COLORS - 1)
    table.SetAttribute(_ROLE, _TABLE_ROLE)
    table.SetDescription("Anomaly score -log10(p): violet 1, yellow 4 and above")
    table.AddDefaultStorageNode()
    return table
