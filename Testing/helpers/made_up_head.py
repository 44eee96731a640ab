"""A made-up head for the synthesis of scans: nested ellipsoids of fluid, cortex, white matter and ventricle.

Its cortex below is that of a cerebellum.
"""

from __future__ import annotations

import numpy as np

from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.healthy_bank import FINE, FLUID, GRAY, LABELS, WHITE, Inputs

_RADII = {"subarachnoid fluid": 1.0, "cortex": 0.93, "white matter": 0.85, "thalamus": 0.32, "ventricles": 0.22}
_AXES = np.array([66.0, 82.0, 66.0])  # mm along z, y, x
_NONE = np.zeros(0, np.uint8)


def _distance(z: np.ndarray) -> np.ndarray:
    """Distance from the middle in units of the head, (len(z), y, x)."""
    y = FINE.origin[1] + np.arange(FINE.size[1])
    x = FINE.origin[0] + np.arange(FINE.size[0])
    grid = np.meshgrid((z - 4) / _AXES[0], (y - 16) / _AXES[1], x / _AXES[2], indexing="ij")
    return np.sqrt(sum(axis**2 for axis in grid))


def head() -> Inputs:
    """Its label map."""
    distance = _distance(LABELS.origin[2] + np.arange(LABELS.size[2]))
    classes = np.zeros(distance.shape, np.uint8)
    for name, radius in _RADII.items():
        classes[distance < radius] = 1 + list(TISSUES).index(name)
    below = classes[: LABELS.size[2] // 5]
    below[below == 1 + list(TISSUES).index("cortex")] = 1 + list(TISSUES).index("cerebellar cortex")
    return Inputs("labels", "", classes, _NONE, _NONE)


def slices_of_heads(count: int = 8) -> Inputs:
    """Single FLAIR slices of it at +18 mm, with noise of their own."""
    distance = _distance(np.full(count, 18.0))
    tissue = np.select(
        [distance < 0.22, distance < 0.85, distance < 0.93, distance < 1], [FLUID, WHITE, GRAY, FLUID], 0
    )
    noise = 0.02 * np.random.default_rng(0).standard_normal(tissue.shape)
    image = np.where(tissue > 0, np.array([0.0, 0.1, 0.7, 0.55])[tissue] + noise, 0)
    return Inputs(
        "slices", "FLAIR", image.astype(np.float16), tissue.astype(np.uint8), np.full(count, 18.0, np.float32)
    )
