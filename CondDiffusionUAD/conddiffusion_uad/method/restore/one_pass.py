"""A reconstruction from one pass over the slice as it is, without noise: what a denoising autoencoder does.

Paper: Kascenas et al. 2023, arXiv:2301.08330: ``x_hat = f(x)``, with a network that has learned, by the objective
"coarse_noise", to take away what does not belong.

What differs: the network is the denoiser of the other methods; where it expects a timestep, it is told one that means
nothing. Several of them give several samples, which a network learns to tell apart only if its training had them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from conddiffusion_uad.method.restore.each_timestep import EachTimestep
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices


@dataclass(frozen=True)
class OnePass(EachTimestep):
    """One sample for each timestep, from a pass over the clean slice.

    Attributes:
        timesteps: What the network is told, 1..1000.
    """

    timesteps: tuple[int, ...] = (1,)
    noised: ClassVar[str] = "nowhere"

    def __call__(self, model: ConditionedDiffusion, slices: Slices, seeds: Seeds) -> torch.Tensor:
        """Estimates of the healthy slices, float32 (timesteps, B, 1, H, W)."""
        image, condition = slices.image, model.encoder(slices)
        nothing, nowhere = torch.zeros_like(image), torch.zeros_like(image, dtype=torch.bool)
        levels = [torch.full((len(slices),), timestep, device=image.device) for timestep in self.timesteps]
        return torch.stack([model(slices, level, nothing, condition, nowhere) for level in levels])
