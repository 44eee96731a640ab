"""What an anomaly looks like: its intensity by contrast, with the sign that lesions have there, and its texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from conddiffusion_uad.training.data.lattice import Lattice, SmoothField
from conddiffusion_uad.training.data.signal_equations import Palette

_ANYWHERE = 0.08  # share of anomalies with an intensity of either sign, as of blood, calcium or a chronic cavity
_DARK = 0.9  # of the distance from fluid to gray matter: what lesions on T1 are darker than
_T2_LEAST, _FLAIR_LEAST = 0.12, 1.12


def draw(palette: Palette, rng: np.random.Generator) -> float:
    """A lesion's intensity: dark on T1, bright on T2 and FLAIR, by signal equation where the scan is simulated."""
    fluid, gray, white = palette.fluid, palette.gray, palette.white
    dark = fluid + _DARK * (gray - fluid)
    if palette.contrast not in ("T1", "T2", "FLAIR") or rng.random() < _ANYWHERE:
        low, high = min(fluid, gray, white), max(fluid, gray, white)
        return float(rng.uniform(low, high + 0.3 * (high - low)))
    if palette.lesion is not None and rng.random() < 0.6:
        value = palette.lesion(rng)
        if value < dark if palette.contrast == "T1" else value > gray:
            return value
    if palette.contrast == "T1":
        return float(rng.uniform(*sorted((fluid - 0.1 * (gray - fluid), dark))))
    if palette.contrast == "T2":
        return float(gray + rng.uniform(_T2_LEAST, 1.0) * (fluid - gray))
    return float(gray * rng.uniform(_FLAIR_LEAST, 1.9))


@dataclass(frozen=True)
class Texture:
    """Unevenness inside an anomaly.

    Attributes:
        slow, fine: Fields over the box of the brain.
        strength: Standard deviation, as a share of the distance from white matter to fluid.
        kept: Share of the healthy tissue's own texture that shines through.
    """

    slow: SmoothField
    fine: SmoothField
    strength: float
    kept: float

    @classmethod
    def draw(cls, rng: np.random.Generator, most: float = 0.12, kept: float = 0.4) -> Texture:
        """A random one, of at most this strength, through which at most this share of the healthy one shines."""
        slow, fine = (SmoothField.draw(rng, 1, nodes) for nodes in (12, 30))
        return cls(slow, fine, rng.uniform(0, most), rng.uniform(0, kept))

    def on(self, lattice: Lattice) -> torch.Tensor:
        """Deviation from the anomaly's intensity, (Z, Y, X), in units of that distance."""
        return self.strength * (0.7 * self.slow.on(lattice)[0] + 0.7 * self.fine.on(lattice)[0])
