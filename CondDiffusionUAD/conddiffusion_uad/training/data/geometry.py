"""Random shape of a head: imperfect registration, individual anatomy and the push of a mass, as a map of points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from conddiffusion_uad.training.data.lattice import Lattice, SmoothField

_CENTER = (0.0, 18.0, 0.0)  # of rotation, mm (z, y, x): about the middle of the atlas' brain
_PITCH, _ROLL, _YAW = 7.0, 3.0, 3.0  # degrees at most; the mid-plane is found better than the pitch
_SCALE = 0.12
_ELASTIC_MM = (4.0, 1.6)  # largest standard deviations, for few and for many control points


@dataclass(frozen=True)
class Push:
    """Tissue pressed away from a center, or drawn to it.

    Attributes:
        center: mm (z, y, x).
        radius: mm.
        strength: Positive: a mass; negative: what shrank.
    """

    center: np.ndarray
    radius: float
    strength: float


@dataclass(frozen=True)
class Geometry:
    """A map from points of the made scan to points of the healthy source."""

    matrix: torch.Tensor
    shift: torch.Tensor
    coarse: SmoothField
    fine: SmoothField
    amplitudes: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Geometry:
        """A random one; mirrored left to right in half of the cases."""
        roll, pitch, yaw = np.deg2rad([rng.uniform(-a, a) for a in (_ROLL, _PITCH, _YAW)])
        rotation = _turn(0, 1, pitch) @ _turn(0, 2, roll) @ _turn(1, 2, yaw)
        scales = 1 + rng.uniform(-_SCALE, _SCALE) / 2 + rng.uniform(-_SCALE, _SCALE, 3) / 2
        scales[2] *= rng.choice([-1, 1])
        matrix = torch.from_numpy((rotation @ np.diag(scales)).astype(np.float32))
        shift = torch.from_numpy(rng.uniform(-4, 4, 3).astype(np.float32) * np.float32([1, 1, 0.5]))
        amplitudes = tuple(rng.uniform(0, a) for a in _ELASTIC_MM)
        return cls(matrix, shift, SmoothField.draw(rng, 3, 5), SmoothField.draw(rng, 3, 10), amplitudes)

    def sources(self, lattice: Lattice, pushes: list[Push]) -> torch.Tensor:
        """Where in the source each point comes from, (3, Z, Y, X) mm in the order z, y, x."""
        points = lattice.points()
        for push in pushes:
            center = torch.tensor(push.center, dtype=points.dtype, device=points.device)[:, None, None, None]
            away = points - center
            near = torch.exp(-away.square().sum(0) / (1.6 * push.radius) ** 2)
            points = points - push.strength * near * away
        moved = self.amplitudes[0] * self.coarse.on(lattice) + self.amplitudes[1] * self.fine.on(lattice)
        center = torch.tensor(_CENTER, dtype=points.dtype, device=points.device)
        matrix, shift = self.matrix.to(points), (self.shift.to(points) + center)[:, None, None, None]
        return torch.einsum("ab,bzyx->azyx", matrix, points - center[:, None, None, None]) + shift + moved


def _turn(first: int, second: int, angle: float) -> np.ndarray:
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix
