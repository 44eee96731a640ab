"""Folia of the cerebellum, which label maps do not show: thin sheets of cortex with fluid between and white matter in.

Without them the cerebellar cortex is one gray mass, as no scan shows it but where a tumor is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

CENTER = (-20.0, 25.0, 0.0)
"""What the sheets lie around as shells do, mm (z, y, x) in the atlas: about the tegmentum of the pons."""

_PERIOD_MM = (3.5, 6.0)
_WAVES = 3  # that bend the sheets, in random directions
_WAVELENGTH_MM, _BENT_MM = (15.0, 60.0), 2.0
_FLUID, _WHITE = (0.0, 0.5), (0.0, 0.6)  # share of each in the middle of its part of a sheet


@dataclass(frozen=True)
class Folia:
    """The sheets of one cerebellum.

    Attributes:
        period: From sheet to sheet before they are bent, mm.
        fluid, white: Share of fluid between and of white matter within them.
        waves: Of each wave that bends them: cycles per mm along z, y and x, and phase in cycles.
    """

    period: float
    fluid: float
    white: float
    waves: tuple[tuple[float, ...], ...]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Folia:
        """Random ones."""
        along = rng.standard_normal((_WAVES, 3))
        along /= np.linalg.norm(along, axis=1, keepdims=True) * rng.uniform(*_WAVELENGTH_MM, (_WAVES, 1))
        waves = tuple((*each, rng.random()) for each in along.tolist())
        return cls(rng.uniform(*_PERIOD_MM), rng.uniform(*_FLUID), rng.uniform(*_WHITE), waves)

    def shares(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Share of fluid and of white matter in cerebellar cortex.

        Args:
            points: mm in the order z, y, x, (3, ...).
        """
        center = points.new_tensor(CENTER).view(3, *(1,) * (points.dim() - 1))
        distance = (points - center).square().sum(0).sqrt()
        for z, y, x, phase in self.waves:
            turned = z * points[0] + y * points[1] + x * points[2] + phase
            distance = distance + _BENT_MM * torch.sin(2 * torch.pi * turned)
        sheet = torch.cos(2 * torch.pi * distance / self.period)
        return self.fluid * sheet.clamp(min=0).square(), self.white * (-sheet).clamp(min=0).square()
