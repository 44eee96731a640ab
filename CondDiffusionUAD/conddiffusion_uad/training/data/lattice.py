"""Where synthetic voxels lie: separable lattices in atlas millimeters, and smooth random fields on them.

A synthetic scan is a function of place. It is evaluated on a coarse lattice of the whole brain, for what normalization
has to know, and on the fine lattice of only those slices that are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

BOX = ((-76.0, 84.0), (-96.0, 130.0), (-80.0, 80.0))  # mm along z, y, x that smooth fields span
_SPLINE_SPREAD = 0.479**-0.5  # one over the root mean square of cubic B-spline weights, per axis


@dataclass(frozen=True)
class Lattice:
    """Coordinates along three axes, atlas LPS mm, float32, increasing.

    Attributes:
        z, y, x: On the CPU, where there is always something to be asked of them.
        device: That computes what lies on the lattice.
    """

    z: torch.Tensor
    y: torch.Tensor
    x: torch.Tensor
    device: torch.device | str = "cpu"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Points along z, y, x."""
        return len(self.z), len(self.y), len(self.x)

    @property
    def axes(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """z, y and x."""
        return self.z, self.y, self.x

    def points(self) -> torch.Tensor:
        """All points, (3, Z, Y, X), in the order z, y, x, on the device."""
        return torch.stack(torch.meshgrid(*(axis.to(self.device) for axis in self.axes), indexing="ij"))

    def part(self, where: tuple[slice, slice, slice]) -> Lattice:
        """A part of it."""
        return Lattice(*(axis[part] for axis, part in zip(self.axes, where, strict=True)), self.device)

    def box(self, center: np.ndarray, reach: float) -> tuple[tuple[slice, slice, slice], Lattice] | None:
        """The part within ``reach`` mm of a center (z, y, x) along each axis: where it lies, and it; None if empty."""
        parts = []
        for axis, middle in zip(self.axes, center, strict=True):
            low = int(torch.searchsorted(axis, float(middle - reach)))
            parts.append(slice(low, int(torch.searchsorted(axis, float(middle + reach)))))
        if any(part.start >= part.stop for part in parts):
            return None
        return tuple(parts), self.part(tuple(parts))

    def halved_steps(self) -> Lattice:
        """Each slice as two, a quarter of the slice distance below and above its center."""
        quarter = 0.25 * (self.z[1] - self.z[0]) if len(self.z) > 1 else torch.tensor(0.5)
        return replace(self, z=torch.stack([self.z - quarter, self.z + quarter], 1).flatten())


@dataclass(frozen=True)
class SmoothField:
    """Smooth random fields: cubic B-splines over control points that fill a box.

    Attributes:
        nodes: (channels, nz, ny, nx), standard normal, so that the field has about unit variance.
        box: (low, high) in mm along z, y and x.
    """

    nodes: torch.Tensor
    box: tuple[tuple[float, float], ...] = BOX

    @classmethod
    def draw(cls, rng: np.random.Generator, channels: int, count: int | tuple[int, int, int], box=BOX) -> SmoothField:
        """A field with ``count`` control points along each axis."""
        counts = (count,) * 3 if isinstance(count, int) else count
        return cls(torch.from_numpy(rng.standard_normal((channels, *counts), np.float32)), box)

    def on(self, lattice: Lattice) -> torch.Tensor:
        """The fields at the lattice's points: (channels, Z, Y, X), on its device."""
        matrices = [
            _spline(count, axis, *ends).to(lattice.device)
            for count, axis, ends in zip(self.nodes.shape[1:], lattice.axes, self.box, strict=True)
        ]
        values = torch.einsum("za,cabd->czbd", matrices[0], self.nodes.to(matrices[0]))
        values = torch.matmul(matrices[1], values)
        return torch.matmul(values, matrices[2].T)


def _spline(count: int, axis: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Uniform cubic B-spline weights of ``count`` nodes between low and high at each coordinate, (len(axis), count)."""
    place = np.clip((axis.numpy() - low) / (high - low) * (count - 1), 0, count - 1)  # small: numpy is quicker
    distance = np.abs(place[:, None] - np.arange(count, dtype=np.float32))
    near = 2 / 3 - distance**2 * (1 - distance / 2)
    far = np.maximum(2 - distance, 0) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    weights *= _SPLINE_SPREAD / weights.sum(1, keepdims=True)
    return torch.from_numpy(weights.astype(np.float32))


def blurred(values: torch.Tensor, sigmas: tuple[float, float, float]) -> torch.Tensor:
    """Gaussian blur of (Z, Y, X) with standard deviations in voxels along each axis; 0 leaves an axis alone."""
    for axis, sigma in enumerate(sigmas):
        if sigma < 0.05 or values.shape[axis] == 1:
            continue
        reach = max(1, int(np.ceil(2.5 * sigma)))
        offsets = torch.arange(-reach, reach + 1, device=values.device, dtype=values.dtype)
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
        kernel = kernel / kernel.sum()
        moved = values.movedim(axis, 0)
        padded = torch.cat(
            [moved[:1].expand(reach, *moved.shape[1:]), moved, moved[-1:].expand(reach, *moved.shape[1:])]
        )
        total = kernel[0] * padded[: len(moved)]
        for step in range(1, 2 * reach + 1):
            total = total + kernel[step] * padded[step : step + len(moved)]
        values = total.movedim(0, axis)
    return values
