"""How well the surface of what was found agrees with that of the truth, in MONAI's definitions.

Surfaces are the border voxels, as MONAI and Metrics Reloaded count them. A volume too thin to show a head is judged by
the outline of its middle slice: nearly all of its voxels would be border voxels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

from conddiffusion_uad.io.geometry import MIN_EXTENT_MM

TOLERANCE_MM = 2.0
"""Distance that is forgiven; of the order of what two readers differ by."""

PERCENTILE = 95


def surface_figures(
    flagged: np.ndarray, truth: np.ndarray, spacing: Sequence[float], tolerance_mm: float = TOLERANCE_MM
) -> tuple[float | None, float | None]:
    """Normalized surface Dice and the 95 % Hausdorff distance in mm.

    Surface Dice is the share of both surfaces that is no farther than the tolerance from the other one (Nikolov et al.,
    J. Med. Internet Res. 23, 2021); the distance is the larger of the 95th percentiles of the distances from either.

    Args:
        flagged: Boolean, (z, y, x).
        truth: Boolean, same shape.
        spacing: (z, y, x) in mm.

    Returns:
        Both None when either is empty.
    """
    if not (flagged.any() and truth.any()):
        return None, None
    masks, steps = [np.asarray(mask, bool) for mask in (flagged, truth)], [float(step) for step in spacing]
    if len(truth) * steps[0] < MIN_EXTENT_MM:
        masks, steps = [mask[len(mask) // 2] for mask in masks], steps[1:]
        if not all(mask.any() for mask in masks):
            return None, None
    pair = [torch.from_numpy(np.ascontiguousarray(mask))[None, None] for mask in masks]
    with warnings.catch_warnings():  # MONAI calls a function of its own with an argument that it has deprecated
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        shares = compute_surface_dice(*pair, [tolerance_mm], include_background=True, spacing=steps)
        distances = compute_hausdorff_distance(*pair, include_background=True, percentile=PERCENTILE, spacing=steps)
    return float(shares), float(distances)
