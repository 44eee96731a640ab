"""The networks of deepbet on a scan (Fisch et al., Comput Biol Med 179:108845, 2024): a rough look, then an exact one.

The weights are the package's; of the package itself nothing is imported. What it does around its networks takes as long
as they do, and holds a dozen copies of the scan; here only the voxels that a network looks at are ever taken from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from conddiffusion_uad.preprocessing.brain_network import BrainNetwork

ROUGH, EXACT = 128, 256  # voxels along each side of what the two networks look at
DARK, BRIGHT = 0.005, 0.995  # quantiles between which intensities are told apart
MEAN, DEVIATION = 0.449, 0.226  # that the networks expect of them
LEAST_SHARE = 0.02  # of a plane that must be brain for the plane to belong to the brain's box
MARGIN = 0.1  # of the box's size, on each side
TURNED = (1, -1, -1)  # steps along z, y and x: the networks know axes near R, A, S, scans have them near L, P, S

Index = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Positions along z, y and x: a box of a volume, or voxels spread over it."""

Network = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Networks:
    """The two networks, on a device; each tells which voxels (z, y, x) are brain."""

    rough: Network
    exact: Network
    device: str


@cache
def load(device: str) -> Networks:
    """The networks on a device; they stay loaded for the next scan. Raises ImportError without the package."""
    package = find_spec("deepbet")
    if package is None or package.origin is None:
        raise ImportError("deepbet is not installed")
    folder = Path(package.origin).parents[1] / "data" / "models"
    stored = (torch.jit.load(folder / name, device) for name in ("bbox_model.pt", "model.pt"))
    rough, exact = (BrainNetwork(dict(network.named_parameters())) for network in stored)
    return Networks(rough, exact, device)


def mask(image: sitk.Image, networks: Networks) -> np.ndarray:
    """The brain: one connected part without holes, uint8 (z, y, x); empty where none is found.

    Args:
        image: float32 scan of a head, finite, axes near L, P, S.
        networks: From :func:`load`.
    """
    values = sitk.GetArrayViewFromImage(image)
    found = np.zeros(values.shape, np.uint8)
    z, y, x = map(_whole, values.shape)
    seen = _taken(values, (z, y, x), ROUGH)
    limits = np.quantile(seen, [DARK, BRIGHT]).tolist()
    box = _box(_largest(_brain(networks.rough, seen, limits, networks.device)), values.shape)
    if box is None:
        return found
    exact = _brain(networks.exact, _taken(values, box, EXACT), limits, networks.device)
    back = np.ix_(*(_spread(EXACT, len(axis))[::step] for axis, step in zip(box, TURNED, strict=True)))
    inside = sitk.BinaryFillhole(sitk.GetImageFromArray(_largest(exact[back])))
    found[tuple(slice(axis[0], axis[-1] + 1) for axis in box)] = sitk.GetArrayViewFromImage(inside)
    return found


def _taken(values: np.ndarray, box: Index, count: int) -> np.ndarray:
    """So many voxels along each axis of a box of a volume (z, y, x), their axes up, to the front and to the right."""
    z, y, x = (axis[::step][_spread(len(axis), count)] for axis, step in zip(box, TURNED, strict=True))
    return values[np.ix_(z, y, x)]


def _spread(length: int, count: int) -> np.ndarray:
    """The positions, of so many, nearest to the centers of `count` equal parts."""
    centers = (np.arange(count, dtype=np.float32) + np.float32(0.5)) * np.float32(length / count)
    return np.minimum(centers.astype(int), length - 1)


def _whole(length: int) -> np.ndarray:
    return np.arange(length)


def _brain(network: Network, values: np.ndarray, limits: list[float], device: str) -> np.ndarray:
    """Where a network sees brain, uint8, in the axes of the values, which are changed."""
    low, high = limits
    seen = torch.from_numpy(values).to(device).sub_(low).div_(high - low).clamp_(0, 1)
    seen.sub_(seen.mean())
    deviation = torch.linalg.vector_norm(seen) / math.sqrt(seen.numel())
    return network(seen.mul_(DEVIATION / deviation).add_(MEAN)).to(torch.uint8).cpu().numpy()


def _largest(found: np.ndarray) -> np.ndarray:
    """The largest part that is connected, also by corners; uint8."""
    parts = sitk.ConnectedComponent(sitk.GetImageFromArray(np.ascontiguousarray(found)), True)
    labels = sitk.GetArrayViewFromImage(parts)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: np.ndarray = (labels == sizes.argmax()).astype(np.uint8) if sizes.any() else np.zeros_like(found)
    return largest


def _box(brain: np.ndarray, shape: tuple[int, ...]) -> Index | None:
    """The box (z, y, x) around a rough look (z, y, x; near S, A, R) in a volume of a shape (z, y, x), if it has one."""
    box = []
    for axis, (length, step) in enumerate(zip(shape, TURNED, strict=True)):
        planes = np.flatnonzero(brain.mean(axis=tuple({0, 1, 2} - {axis})) > LEAST_SHARE)
        if not planes.size:
            return None
        first, last, scale = int(planes[0]), int(planes[-1]) + 1, length / brain.shape[axis]
        center, size = round((first + last) / 2 * scale), round((last - first) * scale * (1 + 2 * MARGIN))
        low, high = max(0, int(center - size / 2)), min(length, int(center + size / 2))
        if low >= high:  # less than a voxel is no brain
            return None
        box.append(np.arange(length - high, length - low) if step < 0 else np.arange(low, high))
    z, y, x = box
    return z, y, x
