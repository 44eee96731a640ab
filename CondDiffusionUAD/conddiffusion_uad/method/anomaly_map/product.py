"""The learned map times the residual: their errors differ, so that what both see stands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from conddiffusion_uad.method.anomaly_map.learned import Learned
from conddiffusion_uad.method.anomaly_map.residual import Residual
from conddiffusion_uad.method.brain import resampled
from conddiffusion_uad.method.parts import KIND, read
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion


@dataclass(frozen=True)
class Product:
    """Both maps multiplied, on the grid of the learned one.

    Attributes:
        residual: Fields of a :class:`Residual`.
        learned: Fields of a :class:`Learned`.
        floor: Added to the residual, in its unit, so that what it is silent about can still be found.
    """

    residual: Mapping[str, Any]
    learned: Mapping[str, Any] = field(default_factory=dict)
    floor: float = 0.02

    def __post_init__(self) -> None:
        if not self.floor >= 0:
            raise ValueError("the floor of a product is not negative")
        _ = self._learned, self._residual  # which refuse fields that they do not know

    @cached_property
    def _learned(self) -> Learned:
        return read({"learned": Learned}, {KIND: "learned", **self.learned}, "learned")

    @cached_property
    def _residual(self) -> Residual:
        return read({"residual": Residual}, {KIND: "residual", **self.residual}, "residual")

    @property
    def weights(self) -> str:
        """Name of the learned map's network and of its file."""
        return self._learned.weights

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Of the grid that the map is made on, mm along x, y, z."""
        return self._learned.spacing

    def build(self) -> nn.Module:
        """The learned map's network with new weights."""
        return self._learned.build()

    def __call__(self, restored: Restored, model: ConditionedDiffusion) -> np.ndarray:
        """The map, float32 (z, y, x); the residual is made on the bundle's grid and brought to the finer one.

        Raises:
            ValueError: It is not known where the voxels lie.
        """
        found = self._learned(restored, model)
        origin = restored.origin or restored
        assert restored.grid is not None and origin.grid is not None
        residual = resampled(self._residual(origin, model), origin.mask, origin.grid, restored.grid)
        return np.where(restored.mask, found * (residual + np.float32(self.floor)), 0).astype(np.float32)
