"""The noise that a slice is corrupted with.

One kind a file; the same seed gives the same field on every device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from conddiffusion_uad.method.noise.coarse import Coarse
from conddiffusion_uad.method.noise.gaussian import Gaussian
from conddiffusion_uad.method.noise.simplex import Simplex


class Noise(Protocol):
    """Noise fields of a kind."""

    def __call__(self, seeds: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        """A field for each seed, float32 (seeds, 1, H, W), of the size and on the device of ``like`` (B, 1, H, W)."""


NOISES: Mapping[str, type[Noise]] = {"simplex": Simplex, "gaussian": Gaussian, "coarse": Coarse}
