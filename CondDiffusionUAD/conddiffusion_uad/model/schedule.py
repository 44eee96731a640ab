"""The cosine noise schedule and the forward (noising) process."""

from __future__ import annotations

import math

import torch

STEPS = 1000  # length of the diffusion; a noise level t is an integer in 1..STEPS


class CosineSchedule:
    """Cumulative signal power of the cosine schedule (Nichol and Dhariwal 2021, equation 17).

    ``alpha_bar(t) = f(t) / f(0)`` with ``f(t) = cos^2(((t / T) + s) / (1 + s) * pi / 2)``. A single step never destroys
    more than ``beta_max`` of the signal power, which only matters for the last few steps.

    Level ``t`` counts from 1 (almost clean) to ``steps`` (pure noise).
    """

    def __init__(self, steps: int = STEPS, s: float = 0.008, beta_max: float = 0.999) -> None:
        f = [math.cos((t / steps + s) / (1 + s) * math.pi / 2) ** 2 for t in range(steps + 1)]
        alpha_bar, product = [1.0], 1.0
        for t in range(1, steps + 1):
            product *= 1 - min(1 - f[t] / f[t - 1], beta_max)
            alpha_bar.append(product)
        self.steps = steps
        self.alpha_bar = torch.tensor(alpha_bar, dtype=torch.float64)

    def scales(self, level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Amplitudes ``sqrt(alpha_bar)`` of the signal and ``sqrt(1 - alpha_bar)`` of the noise, each (B, 1, 1, 1)."""
        alpha_bar = self.alpha_bar[level.long().cpu()]
        shape = (-1, 1, 1, 1)
        signal, noise = alpha_bar.sqrt().float().view(shape), (1 - alpha_bar).sqrt().float().view(shape)
        return signal.to(level.device), noise.to(level.device)

    def noised(self, clean: torch.Tensor, noise: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Sample ``x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) n``.

        Args:
            clean: x_0 in [-1, 1], shape (B, 1, H, W).
            noise: n, same shape.
            level: t in 1..steps, shape (B,).
        """
        signal_scale, noise_scale = self.scales(level)
        return signal_scale * clean + noise_scale * noise
