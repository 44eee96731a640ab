"""What the colors of the heatmap mean, and scores for people."""

from __future__ import annotations

from typing import Any

from CondDiffusionUADLib.scene.Colors import Scale, setThreshold, showColored

SCORE_RANGE = (1.0, 6.0)
"""Scores of the first and the last color, the same for every scan so that heatmaps compare: from 1 in 10 to 1 in a
million healthy voxels. The sensitivity slider begins with the first and reaches at least the last."""

HIGHEST_THRESHOLD = 10.0
"""The score that a threshold may have at most: few false findings of a model may take one beyond the colors."""

DEFAULT_OPACITY = 0.6

# From violet through red to yellow in equal steps of CIELAB lightness (28 to 92): equal steps of the score look equal,
# in gray too, and no hue of it occurs in a gray scan. The engine paints its overview.png with the same colors.
SCORE = Scale(
    role="scoreColors",
    name="CondDiffusionUAD anomaly score",
    description="Anomaly score -log10(p): violet 1, yellow 6 and above",
    title="Anomaly score (-log10 p)",
    range=SCORE_RANGE,
    anchors=(
        (101, 4, 162),
        (173, 8, 124),
        (230, 13, 94),
        (254, 86, 73),
        (255, 144, 75),
        (255, 190, 87),
        (254, 235, 23),
    ),
    labels=round(SCORE_RANGE[1] - SCORE_RANGE[0]) + 1,
    labelFormat="%.0f",
)


def thresholdOf(heatmapNode: Any) -> float | None:
    """The score below which the heatmap is transparent; None when its display was deleted."""
    display = heatmapNode.GetVolumeDisplayNode()
    return float(display.GetLowerThreshold()) if display is not None else None


def showFrom(heatmapNode: Any, threshold: float) -> None:
    """Show the heatmap from a threshold on; a display that was deleted is made again."""
    if heatmapNode.GetVolumeDisplayNode() is None:
        showColored(heatmapNode.GetScene(), heatmapNode, SCORE, threshold)
    else:
        setThreshold(heatmapNode, threshold)


def scoreText(score: float) -> str:
    """A score for people, as the table, the sensitivity and a report have it, also beyond the colors."""
    return f"{score:.1f}"
