"""How much each voxel counts in the loss of the learned map, so that findings count alike, whatever their size.

For anomalies that is the idea of the blob loss (Kofler et al. 2023). Here healthy places that are taken for an anomaly
count so, too: they are the false findings of a detection, and most are so small that their voxels alone would be lost
among those of small anomalies.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

SUSPECTED = 0.3
"""Probability from which on a healthy place is taken for an anomaly."""

_FINDING = 1500.0  # how much a finding of a slice counts
_ANOMALOUS = (3.0, 100.0)  # least and most of a voxel of an anomaly: large ones are to be found as a whole
_SUSPECTED = (1.0, 100.0)  # and of a false finding
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
            each[sick] = _shares(parts, _ANOMALOUS)[parts[sick]]
    return torch.from_numpy(weight).to(label.device)


def suspected(logits: torch.Tensor, spared: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
    """How much each voxel counts for being in a false finding: each of them as much as an anomaly in plain sight.

    A false finding is what is connected in a slice of the brain, more probable than :data:`SUSPECTED` and touches
    nothing that is spared. Of less than 15 voxels it counts less, for a voxel counts at most 100, and of more than
    1500 more, for it counts at least 1, as every voxel elsewhere.

    Args:
        logits: Of the network, (B, 1, H, W).
        spared: Where an anomaly is, or may be; above 0, same shape.
        brain: 1 inside the brain, same shape.
    """
    weight = np.ones(spared.shape, np.float32)
    flagged = ((torch.sigmoid(logits.detach()) > SUSPECTED) & (brain > 0))[:, 0].cpu().numpy()
    for each, found, kept in zip(weight[:, 0], flagged, spared[:, 0].cpu().numpy() > 0, strict=True):
        parts, number = ndimage.label(found | kept, _NEIGHBORS)
        if number:
            shares = _shares(parts, _SUSPECTED)
            shares[0] = shares[np.unique(parts[kept])] = 1
            each[...] = shares[parts]
    return torch.from_numpy(weight).to(spared.device)


def _shares(parts: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """How much a voxel of each part counts, by the number of the part."""
    return np.clip(_FINDING / np.bincount(parts.ravel()).clip(min=1), *limits)  # all of a slice may be one
