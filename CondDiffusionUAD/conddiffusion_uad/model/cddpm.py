"""The conditioned diffusion model (cDDPM): encoder, denoiser, schedule and noise together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from conddiffusion_uad.model.denoiser import Denoiser
from conddiffusion_uad.model.schedule import CosineSchedule
from conddiffusion_uad.model.slices import Slices

if TYPE_CHECKING:
    from conddiffusion_uad.model.fast.inference import FastDenoiser

Noise = Callable[[Sequence[int], torch.Tensor], torch.Tensor]


class ConditionedDiffusion(nn.Module):
    """One-step pseudo-healthy reconstruction of axial slices.

    Attributes:
        encoder: From slices to their condition, (B, D); D may be 0, and the model is a plain DDPM then.
        denoiser: Predicts the clean slice from a noisy one.
        schedule: How much noise there is at a timestep.
        noise: Given seeds and a tensor (B, 1, H, W), a noise field of its own for each seed, (seeds, 1, H, W).
        networks: Further networks of a method's parts by their names, such as one that makes the anomaly map. Their
            weights lie in files of their own.
    """

    denoiser: Denoiser | FastDenoiser

    def __init__(self, encoder: nn.Module, denoiser: Denoiser, noise: Noise) -> None:
        super().__init__()
        self.encoder = encoder
        self.denoiser = denoiser
        self.schedule = CosineSchedule()
        self.networks = nn.ModuleDict()
        self.noise = noise

    @property
    def divisor(self) -> int:
        """Height and width of the slices must be multiples of this."""
        return self.denoiser.divisor

    @property
    def features(self) -> int:
        """Length D of the condition."""
        first = self.denoiser.embed_condition[0]
        assert isinstance(first, nn.Linear)
        return first.in_features

    @property
    def device(self) -> torch.device:
        """The processor that the weights are on."""
        return next(self.parameters()).device

    def forward(
        self,
        slices: Slices,
        timestep: torch.Tensor,
        noise: torch.Tensor,
        condition: torch.Tensor | None = None,
        where: torch.Tensor | None = None,
        told: Slices | None = None,
    ) -> torch.Tensor:
        """Noise clean slices to a timestep and predict them back in one step.

        Args:
            slices: Clean ones.
            timestep: t of each, 1..1000, shape (B,).
            noise: Noise fields, shape (B, 1, H, W).
            condition: ``encoder(slices)`` if it is known already, shape (B, D).
            where: Where the slices are noised, boolean (B, 1, H, W); None for everywhere.
            told: What the encoder sees if it is not the slices themselves.

        Returns:
            The estimate of the slices on the same scale, not clamped, shape (B, 1, H, W).
        """
        condition = self.encoder(slices if told is None else told) if condition is None else condition
        clean = 2 * slices.image - 1
        noisy = self.schedule.add_noise(clean, noise, timestep)
        if where is not None:
            noisy = torch.where(where, noisy, clean)
        return self.predict(noisy, timestep, condition, slices.context)

    def predict(
        self, noisy: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor, context: torch.Tensor
    ) -> torch.Tensor:
        """Predict clean slices in [0, 1], not clamped, from noisy ones x_t in [-1, 1]; both (B, 1, H, W)."""
        estimate = self.denoiser(noisy, timestep, condition, context)
        return (estimate.float() + 1) / 2  # the scale in full precision
