"""Where anomalies lie: beside the ventricles, under the cortex, in white matter, anywhere in the brain."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from conddiffusion_uad.training.data.healthy_sources import DEEP, FLUID, GRAY, VENTRICLE, WHITE
from conddiffusion_uad.training.data.lattice import Lattice

_LEVEL_MM = 8.0  # places so far above or below a height lie at it


class Places:
    """Candidate centers on a coarse lattice.

    Args:
        tissue: uint8 (Z, Y, X), groups of :mod:`healthy_sources`.
        lattice: Where it was sampled.
    """

    def __init__(self, tissue: torch.Tensor, lattice: Lattice) -> None:
        groups = tissue.cpu().numpy()
        solid = np.isin(groups, (GRAY, WHITE, DEEP))
        white = np.isin(groups, (WHITE, DEEP))
        self._axes = [axis.numpy() for axis in lattice.axes]
        self._steps = [float(axis[1] - axis[0]) if len(axis) > 1 else 0.0 for axis in self._axes]
        maps = {
            "ventricles": white & _near(groups == VENTRICLE),
            "cortex": white & _near(groups == GRAY),
            "white": white,
            "anywhere": solid,
            "fluid": groups == FLUID,
            "insula": (groups == FLUID) & self._insula(),
            "inside ventricles": groups == VENTRICLE,
            "sinuses": (groups > 0) & _near(groups == 0) & self._beside_sinuses(),
        }
        self._found = {name: np.argwhere(where) for name, where in maps.items()}

    def _beside_sinuses(self) -> np.ndarray:
        """The mid-line, and the back of the brain below: where the sagittal and the transverse sinuses run."""
        z, y, x = np.meshgrid(*self._axes, indexing="ij")
        return (np.abs(x) < 8) | ((z < 5) & (y > 40))

    def _insula(self) -> np.ndarray:
        """Around the Sylvian fissures."""
        z, y, x = np.meshgrid(*self._axes, indexing="ij")
        return (np.abs(np.abs(x) - 38) < 10) & (np.abs(y) < 25) & (np.abs(z - 2) < 16)

    def nearest(self, name: str, point: np.ndarray) -> np.ndarray | None:
        """The place of a kind nearest to a point, both mm (z, y, x); None when there is none."""
        if not self.has(name):
            return None
        found = np.stack([axis[i] for axis, i in zip(self._axes, self._found[name].T, strict=True)], 1)
        return found[np.square(found - point).sum(1).argmin()]

    def has(self, name: str) -> bool:
        """Whether there is such a place."""
        return len(self._found[name]) > 0

    def draw(self, name: str, rng: np.random.Generator, height: float | None = None) -> np.ndarray:
        """A random point of a kind of place, mm (z, y, x); anywhere when there is none of it.

        Args:
            name: Of the kind.
            rng: Source of randomness.
            height: Rather at about this z, mm; None for anywhere.
        """
        candidates = self._found[name] if self.has(name) else self._found["anywhere"]
        if height is not None:
            near = np.abs(self._axes[0][candidates[:, 0]] - height) < _LEVEL_MM
            candidates = candidates[near] if near.any() else candidates
        if not len(candidates):
            return np.zeros(3)
        index = candidates[rng.integers(len(candidates))]
        steps = np.array(self._steps)
        middle = np.array([axis[i] for axis, i in zip(self._axes, index, strict=True)])
        return middle + steps * rng.uniform(-0.5, 0.5, 3)


def _near(where: np.ndarray) -> np.ndarray:
    """Voxels within a step of the places along each axis."""
    return ndimage.binary_dilation(where, np.ones((3, 3, 3)))
