"""How well the surface of what was found agrees with that of the truth.

Surfaces are the border voxels, as MONAI and Metrics Reloaded count them. A single slice, (1, y, x), is judged by its
outline: all of its voxels would be border voxels of a volume.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

TOLERANCE_MM = 2.0
PERCENTILE = 95


def surface_dice(
    flagged: np.ndarray, truth: np.ndarray, spacing: Sequence[float], tolerance_mm: float = TOLERANCE_MM
) -> float | None:
    """Normalized surface Dice: the share of both surfaces that is no farther than the tolerance from the other one.

    Nikolov et al., J. Med. Internet Res. 23, 2021; computed by MONAI.

    Args:
        flagged: Boolean, (z, y, x).
        truth: Boolean, same shape.
        spacing: (z, y, x) in mm.
        tolerance_mm: Distance that is forgiven; of the order of what two readers differ by.

    Returns:
        Between 0 and 1; None when either is empty.
    """
    if not (flagged.any() and truth.any()):
        return None
    pair, steps = _batches(flagged, truth, spacing)
    with _own_business():
        return float(compute_surface_dice(*pair, [tolerance_mm], include_background=True, spacing=steps))


def hausdorff95(flagged: np.ndarray, truth: np.ndarray, spacing: Sequence[float]) -> float | None:
    """The 95 % Hausdorff distance in mm: the larger of the 95th percentiles of the distances from either surface.

    Computed by MONAI. The arguments are those of :func:`surface_dice`.

    Returns:
        Not negative; None when either is empty.
    """
    if not (flagged.any() and truth.any()):
        return None
    pair, steps = _batches(flagged, truth, spacing)
    with _own_business():
        return float(compute_hausdorff_distance(*pair, include_background=True, percentile=PERCENTILE, spacing=steps))


def _batches(
    flagged: np.ndarray, truth: np.ndarray, spacing: Sequence[float]
) -> tuple[tuple[torch.Tensor, torch.Tensor], list[float]]:
    """Both as MONAI wants them, (1, 1, ...), and the spacing; a single slice without its z."""
    flagged, truth = (np.asarray(mask, bool) for mask in (flagged, truth))
    steps = [float(step) for step in spacing]
    if flagged.shape[0] == 1:
        flagged, truth, steps = flagged[0], truth[0], steps[1:]
    first, second = (torch.from_numpy(np.ascontiguousarray(mask))[None, None] for mask in (flagged, truth))
    return (first, second), steps


@contextmanager
def _own_business() -> Iterator[None]:
    """Keeps to itself that MONAI calls a function of its own with an argument that it has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        yield
