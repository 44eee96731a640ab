"""Latent drifting: one number that shifts the noise, so that reconstructions get the intensities of another scanner.

Paper: Yeganeh et al. 2024, "Latent Drifting in Diffusion Models for Counterfactual Medical Image Synthesis",
arXiv:2412.20651: the mean of a diffusion step is shifted by a scalar delta, found on a grid so that generated images
have the distribution of intensities of the target domain.

A restoration in one step has the form ``x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) (n + delta)``: the mean of
the noise drifts. ``train drift`` finds delta on a few healthy scans of the new scanner.

What differs: the paper fine-tunes a generative model and shifts its sampling; here nothing is trained, and what is
shifted is the noise of every restorer, by the same number for all contrasts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from conddiffusion_uad.model.cddpm import ConditionedDiffusion, Noise
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.job import is_number

MOST = 1.0


@dataclass(frozen=True)
class Drift:
    """The noise of the model is shifted.

    Attributes:
        shift: delta, in units of the noise; 0 changes nothing.
    """

    shift: float = 0.0

    def __post_init__(self) -> None:
        if not is_number(self.shift, -MOST, MOST):
            raise ValueError(f"shift is a number from {-MOST:g} to {MOST:g}")

    @contextmanager
    def __call__(self, model: ConditionedDiffusion, slices: Slices) -> Iterator[ConditionedDiffusion]:
        """The model with shifted noise; the earlier noise is there again afterwards."""
        earlier = model.noise
        try:
            model.noise = Shifted(earlier, self.shift)
            yield model
        finally:
            model.noise = earlier


@dataclass(frozen=True)
class Shifted:
    """Noise of another kind plus a number."""

    noise: Noise
    shift: float

    def __call__(self, seeds: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        """See ``noise.Noise``."""
        return self.noise(seeds, like) + self.shift
