"""The conditioned diffusion model (cDDPM): encoder, denoiser, schedule and noise together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from conddiffusion_uad.model.denoiser import Denoiser
from conddiffusion_uad.model.encoder import RESNET_50, build_encoder
from conddiffusion_uad.model.noise import simplex_noise
from conddiffusion_uad.model.schedule import CosineSchedule

# The published configuration: 44.07 M parameters in the denoiser and 24.55 M in the encoder.
PAPER: Mapping[str, Any] = {
    "condition": 512,
    "encoder": dict(RESNET_50),
    "denoiser": {"base": 128, "multipliers": (1, 2, 2), "blocks": 3, "head_channels": 64, "groups": 32, "patch": 1},
    "noise": {"octaves": 6, "persistence": 0.8, "wavelength": 64.0},
}


class ConditionedDiffusion(nn.Module):
    """One-step pseudo-healthy reconstruction of axial slices.

    Args:
        config: ``condition`` (length of the feature vector), ``encoder``, ``denoiser`` and ``noise`` (keyword arguments
            of the parts); :data:`PAPER` is the published one.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoder = build_encoder(config["encoder"], config["condition"])
        self.denoiser = Denoiser(config["condition"], **config["denoiser"])
        self.schedule = CosineSchedule()
        self._noise = dict(config["noise"])

    @property
    def divisor(self) -> int:
        """Height and width of the slices must be multiples of this."""
        return self.denoiser.divisor

    def noise(self, seeds: Sequence[int], slices: torch.Tensor) -> torch.Tensor:
        """A noise field of its own for each of the slices (B, 1, H, W), determined by its seed."""
        return simplex_noise(seeds, *slices.shape[2:], device=slices.device, **self._noise)

    def forward(
        self, slices: torch.Tensor, level: torch.Tensor, noise: torch.Tensor, features: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Noise clean slices to a level and predict them back in one step.

        Args:
            slices: Clean slices in [0, 1], shape (B, 1, H, W).
            level: Noise level t of each, 1..1000, shape (B,).
            noise: Noise fields, same shape as the slices.
            features: ``encoder(slices)`` if it is known already.

        Returns:
            The estimate of the slices on the same scale, not clamped.
        """
        features = self.encoder(slices) if features is None else features
        noisy = self.schedule.noised(2 * slices - 1, noise, level)
        return (self.denoiser(noisy, level, features).float() + 1) / 2  # the scale in full precision
