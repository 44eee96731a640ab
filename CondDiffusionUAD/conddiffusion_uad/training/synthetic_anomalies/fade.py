"""How visible an anomaly is: its opacity, fading from place to place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from conddiffusion_uad.training.data.lattice import Lattice, SmoothField

_FADING = 0.4  # share of anomalies that are not equally opaque everywhere


@dataclass(frozen=True)
class Fade:
    """Opacity between a lowest and a highest value.

    Attributes:
        field: Over the box of the anomaly.
        low, high: Opacities; equal where nothing fades, and then there need be no field.
    """

    field: SmoothField | None
    low: float
    high: float

    @classmethod
    def draw(cls, center: np.ndarray, reach: float, rng: np.random.Generator, plain: bool = False) -> Fade:
        """A random one for an anomaly around a center (mm, z, y, x); a plain one is opaque somewhere."""
        if plain:
            low, high = rng.uniform(0.7, 1.0), 1.0
        else:
            high = rng.uniform(0.45, 1.0)
            low = high * rng.uniform(0.2, 0.8) if rng.random() < _FADING else high
        box = tuple((float(c - reach), float(c + reach)) for c in center)
        return cls(SmoothField.draw(rng, 1, 4, box), low, high)

    def on(self, lattice: Lattice) -> torch.Tensor | float:
        """Opacity at each point."""
        if self.low == self.high:
            return self.high
        assert self.field is not None, "what fades has a field"
        return self.low + (self.high - self.low) * torch.sigmoid(2 * self.field.on(lattice)[0])
