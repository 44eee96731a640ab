"""Outlines of anomalies: irregular blobs of one or several lobes, and real lesions' shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from conddiffusion_uad.training.data.lattice import Lattice, SmoothField, blurred

_IRREGULARITY = 0.35  # standard deviation of the outline, in radii
_STRETCH = 0.45  # largest logarithm of a radius over the mean one


@dataclass(frozen=True)
class Blob:
    """An ellipsoid, or a few overlapping ones, with a noisy outline and a soft edge.

    Attributes:
        center: mm (z, y, x).
        radius: Mean radius, mm.
        lobes: Offsets of the ellipsoids in radii, (n, 3), and their relative sizes, (n,).
        axes: Rotation times inverse stretch: maps mm to the units of a sphere, (3, 3).
        outline: Noise of the outline over the blob's box.
        edge: Width of the transition to healthy tissue, mm.
    """

    center: np.ndarray
    radius: float
    lobes: tuple[np.ndarray, np.ndarray]
    axes: np.ndarray
    outline: SmoothField
    edge: float

    @classmethod
    def draw(cls, center: np.ndarray, radius: float, rng: np.random.Generator, stretch: float = _STRETCH) -> Blob:
        """A random one of a given place and size (mm)."""
        rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        stretches = np.exp(rng.uniform(-stretch, stretch, 3))
        stretches /= np.prod(stretches) ** (1 / 3)
        lobes = int(rng.choice([1, 2, 3, 4], p=[0.6, 0.2, 0.1, 0.1]))
        offsets = np.vstack([np.zeros(3), rng.normal(0, 0.55, (lobes - 1, 3))])
        sizes = np.concatenate([[1.0], rng.uniform(0.4, 0.9, lobes - 1)])
        reach = 2.6 * radius
        box = tuple((float(c - reach), float(c + reach)) for c in center)
        nodes = 4 if radius < 5 else int(rng.integers(4, 8))
        outline = SmoothField.draw(rng, 1, nodes, box)
        edge = rng.uniform(0.6, min(2.4, max(0.8, radius)))
        return cls(center, radius, (offsets, sizes), rotation / stretches, outline, edge)

    def on(self, lattice: Lattice, grown: float = 1.0) -> tuple[tuple[slice, slice, slice], torch.Tensor] | None:
        """Where it lies and how much of each point there belongs to it, 0 to 1; None when it misses the lattice.

        Args:
            lattice: Where to look.
            grown: Factor on its size: below 1 its core, above 1 its halo.
        """
        box = lattice.box(self.center, 2.2 * self.radius * max(1.0, grown) + self.edge)
        if box is None:
            return None
        where, part = box
        points = part.points()
        away = points - points.new_tensor(self.center)[:, None, None, None]
        sphere = torch.einsum("ab,bzyx->azyx", away.new_tensor(self.axes.T), away)
        sphere = sphere / self.radius
        depth = None
        for offset, size in zip(*self.lobes, strict=True):
            distance = (sphere - sphere.new_tensor(offset)[:, None, None, None]).square().sum(0).sqrt()
            lobe = size * grown - distance
            depth = lobe if depth is None else torch.maximum(depth, lobe)
        depth = depth + _IRREGULARITY * grown * 0.8 * self.outline.on(part)[0]
        return where, torch.sigmoid(4 * depth * self.radius / self.edge)


@dataclass(frozen=True)
class RealShape:
    """Lesions of a real patient, as a mask without its scan.

    Attributes:
        mask: uint8 (z, y, x) on a 1 mm lattice.
        origin: mm (z, y, x) of its first voxel.
        flipped: Mirrored left to right.
        shift: mm (z, y, x).
        edge: Standard deviation of its blurred edge, voxels of the lattice.
    """

    mask: torch.Tensor
    origin: tuple[float, float, float]
    flipped: bool
    shift: np.ndarray
    edge: tuple[float, float, float] = (0.4, 0.8, 0.8)

    @property
    def middle(self) -> np.ndarray:
        """Center of mass, mm (z, y, x)."""
        return (self._middle() + self.origin) * [1, 1, -1 if self.flipped else 1] + self.shift

    @property
    def holds_its_middle(self) -> bool:
        """Whether its center of mass lies in it, as in one compact lesion and not between scattered ones."""
        return bool(self.mask[tuple(self._middle().round().astype(int))])

    def _middle(self) -> np.ndarray:
        return self.mask.nonzero().double().mean(0).numpy()

    def on(self, lattice: Lattice, grown: float = 1.0) -> tuple[tuple[slice, slice, slice], torch.Tensor] | None:
        """As :meth:`Blob.on`; ``grown`` above 1 is not known of a real shape and below 1 gives nothing."""
        if grown != 1.0:
            return None
        rows = []
        for k, (axis, first, size) in enumerate(zip(lattice.axes, self.origin, self.mask.shape, strict=True)):
            place = (axis - float(self.shift[k])) * (-1 if self.flipped and k == 2 else 1)
            index = (place - first).round().long()
            rows.append(torch.where((index >= 0) & (index < size), index, -1))
        inside = [(row >= 0).to(lattice.device) for row in rows]
        z, y, x = (row.clamp(min=0) for row in rows)
        found = self.mask.to(lattice.device)[z][:, y][:, :, x]
        known = inside[0][:, None, None] & inside[1][None, :, None] & inside[2][None, None, :]
        share = blurred((found * known).to(lattice.x.dtype), self.edge)
        return (slice(None), slice(None), slice(None)), share
