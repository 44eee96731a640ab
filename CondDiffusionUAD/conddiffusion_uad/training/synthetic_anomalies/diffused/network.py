"""A diffusion model that draws a lesion into a slice, where a mask says.

With M the mask, R the region that is drawn anew (M and a halo of some pixels, inside the brain) and x the slice in
[-1, 1], the network is given ``R (sqrt(alpha_bar_t) x + sqrt(1 - alpha_bar_t) n) + (1 - R) x`` beside M and R as
further channels, and the contrast, and predicts x. A lesion is drawn in some deterministic steps of DDIM (Song et al.
2021, arXiv:2010.02502, equation 12 with sigma 0) from noise in R alone.

What differs from ArSDM: there the whole picture comes from noise and the mask alone, with a network that predicts the
noise; here the lesion has to fit a healthy slice that is there, so that all but R is always shown as it is, and stays
as it is to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from conddiffusion_uad.bundle.limits import require_moderate
from conddiffusion_uad.method.parts import require_known
from conddiffusion_uad.model.denoiser import Denoiser
from conddiffusion_uad.model.schedule import STEPS, CosineSchedule
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.table import Table, require_range

DENOISER = ("base", "multipliers", "blocks", "head_channels", "groups", "patch")
WIDEST_HALO = 16  # pixels
LEAST = 1e-3  # intensity of what is drawn: 0 is what is not brain


@dataclass(frozen=True)
class LesionNetwork(Table):
    """What a lesion diffusion is made of, as the table ``[lesions.network]`` of a recipe says it.

    Attributes:
        denoiser: Size of the network: keyword arguments of :class:`model.denoiser.Denoiser`.
        halo: Pixels around a mask that are drawn anew with it.
    """

    denoiser: Mapping[str, Any]
    halo: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.denoiser, Mapping):
            raise ValueError("denoiser is no table")
        require_known(self.denoiser, list(DENOISER), "denoiser")
        require_moderate(self.denoiser)
        require_range(self.halo, 0, WIDEST_HALO, "halo")


class LesionDiffusion(nn.Module):
    """Draws lesions.

    Args:
        network: What it is made of.

    Attributes:
        halo: As of ``network``.
        denoiser: Predicts the slice; its context is M and R, its condition which contrast it shows.
    """

    def __init__(self, network: LesionNetwork) -> None:
        super().__init__()
        self.halo = network.halo
        self.denoiser = Denoiser(len(CONTRASTS), **network.denoiser, context=2)
        self.schedule = CosineSchedule()

    def region(self, mask: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
        """R: a mask with its halo, inside the brain; all boolean (B, 1, H, W)."""
        reach = 2 * self.halo + 1
        grown = functional.max_pool2d((mask & brain).float(), reach, stride=1, padding=self.halo)
        return (grown > 0) & brain

    def forward(
        self, x: torch.Tensor, timestep: torch.Tensor, mask: torch.Tensor, region: torch.Tensor, contrast: torch.Tensor
    ) -> torch.Tensor:
        """The estimate of the slices in [-1, 1], float32 (B, 1, H, W).

        Args:
            x: Slices in [-1, 1] with noise in the region, (B, 1, H, W).
            timestep: t of the noise, 1..1000, (B,).
            mask: M, boolean, same shape as ``x``.
            region: R, the same.
            contrast: Positions in ``protocol.job.CONTRASTS``, (B,).
        """
        told = functional.one_hot(contrast, len(CONTRASTS)).to(x)
        estimate: torch.Tensor = self.denoiser(x, timestep, told, torch.cat([mask, region], dim=1).to(x))
        return estimate.float()

    def noisy(
        self, clean: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor, region: torch.Tensor
    ) -> torch.Tensor:
        """Slices in [-1, 1] (B, 1, H, W) with noise of timesteps (B,) in the region, and as they are elsewhere."""
        return torch.where(region, self.schedule.add_noise(clean, noise, timestep), clean)

    @torch.no_grad()
    def draw(
        self, image: torch.Tensor, mask: torch.Tensor, contrast: torch.Tensor, noise: torch.Tensor, steps: int
    ) -> torch.Tensor:
        """Draw lesions into slices.

        Args:
            image: In [0, 1], 0 outside the brain, (B, 1, H, W).
            mask: Where the lesions are, boolean, same shape.
            contrast: Positions in ``protocol.job.CONTRASTS``, (B,).
            noise: Standard normal, same shape as ``image``; what decides how they look.
            steps: Of DDIM, 1..1000.

        Returns:
            The slices with lesions, same shape: bit for bit ``image`` outside of :meth:`region`, in (0, 1] within.
        """
        region, clean = self.region(mask, image > 0), 2 * image - 1
        x = torch.where(region, noise, clean)
        signal, noise_level = self.schedule.sqrt_alphas_cumprod, self.schedule.sqrt_one_minus_alphas_cumprod
        for now, then in pairwise(torch.linspace(STEPS, 0, steps + 1).round().long().tolist()):
            timestep = torch.full((len(image),), now, device=image.device)
            estimate = self(x, timestep, mask, region, contrast).clamp(-1, 1)
            direction = (x - signal[now] * estimate) / noise_level[now]
            x = torch.where(region, signal[then] * estimate + noise_level[then] * direction, clean)
        return torch.where(region, ((x + 1) / 2).clamp(LEAST, 1), image)
