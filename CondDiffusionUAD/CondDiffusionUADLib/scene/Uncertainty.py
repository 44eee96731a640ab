"""What the colors of the uncertainty mean: how far the samples of the reconstruction leave the anomaly score open."""

from __future__ import annotations

from CondDiffusionUADLib.scene.Colors import Scale

LEAST_SHOWN = 0.1
"""Below it the uncertainty is transparent: the score of most tissue is as sure as that."""

# From dark to light blue in equal steps of CIELAB lightness (24 to 92): no color of it is one of the heatmap's.
UNCERTAINTY = Scale(
    role="uncertaintyColors",
    name="CondDiffusionUAD uncertainty",
    description="Standard error of the anomaly score: dark blue 0, light blue 1 and above",
    title="Uncertainty of the score",
    range=(0.0, 1.0),
    anchors=(
        (7, 60, 95),
        (13, 88, 132),
        (19, 117, 170),
        (27, 148, 208),
        (38, 180, 247),
        (139, 208, 253),
        (209, 236, 254),
    ),
    labels=3,
    labelFormat="%.1f",
)
