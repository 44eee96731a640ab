"""How much each voxel counts in the loss of the learned map, so that findings count alike, whatever their size.

The idea is that of the blob loss (Kofler et al. 2023), for healthy places that are taken for an anomaly, too: they are
the false findings of a detection, and most are so small that their voxels alone would be lost among those of small
anomalies.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

SUSPECTED = 0.3
"""Probability from which on a healthy place is taken for an anomaly."""
_FINDING, _VOXEL, _FALSE_VOXEL = 1500.0, (3.0, 100.0), (1.0, 100.0)  # how much one counts, and limits of its voxels
_NEIGHBORS = np.ones((3, 3))


def balanced(label: torch.Tensor) -> torch.Tensor:
    """How much each voxel counts: 1 outside of anomalies, and so much that each of them counts as much in its slice.

    Very small ones count less, for a voxel counts at most 100, and large ones more, for it counts at least 3.

    Args:
        label: 1 for anomaly, (B, 1, H, W).
    """
    weight = np.ones(label.shape, np.float32)
    for each, sick in zip(weight[:, 0], label[:, 0].cpu().numpy() > 0, strict=True):
        parts, found = ndimage.label(sick, _NEIGHBORS)
        if found:
            each[sick] = _shares(parts, _VOXEL)[parts[sick]]
    return torch.from_numpy(weight).to(label.device)


def suspected(logits: torch.Tensor, label: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
    """How much each voxel counts for being in a false finding: each of them as much as an anomaly, 1 elsewhere.

    A false finding is what is connected in a slice of the brain, more probable than :data:`SUSPECTED` and touches no
    anomaly.

    Args:
        logits: Of the network, (B, 1, H, W).
        label: 1 for anomaly, same shape.
        brain: 1 inside the brain, same shape.
    """
    weight = np.ones(label.shape, np.float32)
    flagged = ((torch.sigmoid(logits.detach()) > SUSPECTED) & (brain > 0))[:, 0].cpu().numpy()
    for each, found, sick in zip(weight[:, 0], flagged, label[:, 0].cpu().numpy() > 0, strict=True):
        parts, number = ndimage.label(found | sick, _NEIGHBORS)
        if number:
            shares = _shares(parts, _FALSE_VOXEL)
            shares[0] = shares[np.unique(parts[sick])] = 1
            each[...] = shares[parts]
    return torch.from_numpy(weight).to(label.device)


def _shares(parts: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """How much a voxel of each part counts, by the number of the part."""
    return np.clip(_FINDING / np.bincount(parts.ravel()).clip(min=1), *limits)  # all of a slice may be one
