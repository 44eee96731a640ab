"""The colors of anomaly scores."""

from __future__ import annotations

import numpy as np

LOWEST_SHOWN, HIGHEST_SHOWN = 1.0, 6.0  # 1 in 10 and 1 in a million healthy voxels: the range of the sensitivity slider
OPAQUE = 0.85  # the anatomy shines through even the highest score

# From violet through red to yellow, CIELAB lightness from 28 to 92 in equal steps: equal steps of the score look equal,
# in gray too, and no hue of it occurs in a gray scan.
_ANCHORS = np.array(
    [(101, 4, 162), (173, 8, 124), (230, 13, 94), (254, 86, 73), (255, 144, 75), (255, 190, 87), (254, 235, 23)], float
)


def colors(scores: np.ndarray) -> np.ndarray:
    """The color (red, green, blue in 0..255, last axis, float) of each score."""
    place = (np.clip(scores, LOWEST_SHOWN, HIGHEST_SHOWN) - LOWEST_SHOWN) / (HIGHEST_SHOWN - LOWEST_SHOWN)
    steps = np.linspace(0.0, 1.0, len(_ANCHORS))
    return np.stack([np.interp(place, steps, _ANCHORS[:, channel]) for channel in range(3)], axis=-1)


def opacity(scores: np.ndarray) -> np.ndarray:
    """How opaque each score is drawn, 0..1: 0 up to the lowest score shown, full from one unit above it."""
    return OPAQUE * np.clip(scores - LOWEST_SHOWN, 0.0, 1.0)
