"""The cosine noise schedule and the forward (noising) process."""

from __future__ import annotations

import math

import torch
from torch import nn

STEPS = 1000  # length of the diffusion; a timestep t is a whole number in 1..STEPS


class CosineSchedule(nn.Module):
    """The cosine schedule in double precision.

    ``alpha_bar(t) = f(t) / f(0)`` with ``f(t) = cos^2(((t / T) + s) / (1 + s) * pi / 2)`` (Nichol and Dhariwal 2021,
    equation 17). A single step never destroys more than ``beta_max`` of the signal power, which only matters for the
    last few steps. MONAI's schedulers compute the same in single precision, where ``alpha_bar`` is off by up to 4e-7.

    Timestep ``t`` counts from 1 (almost clean) to ``steps`` (pure noise), and 0 is the clean slice: so the tables have
    ``steps + 1`` entries, where MONAI's have ``steps`` and begin with the first noisy one.
    """

    alphas_cumprod: torch.Tensor
    sqrt_alphas_cumprod: torch.Tensor
    sqrt_one_minus_alphas_cumprod: torch.Tensor

    def __init__(self, steps: int = STEPS, s: float = 0.008, beta_max: float = 0.999) -> None:
        super().__init__()
        table = _alphas_cumprod(steps, s, beta_max)
        self.register_buffer("alphas_cumprod", table.float(), persistent=False)
        self.register_buffer("sqrt_alphas_cumprod", table.sqrt().float(), persistent=False)
        self.register_buffer("sqrt_one_minus_alphas_cumprod", (1 - table).sqrt().float(), persistent=False)

    def add_noise(self, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Sample ``x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) n``.

        Args:
            clean: x_0 in [-1, 1], shape (B, 1, H, W).
            noise: n, same shape.
            timesteps: t in 0..steps, whole numbers, shape (B,), on the device of the tables.
        """
        signal = self.sqrt_alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        return signal * clean + self.sqrt_one_minus_alphas_cumprod[timesteps].view(-1, 1, 1, 1) * noise


def _alphas_cumprod(steps: int, s: float, beta_max: float) -> torch.Tensor:
    """Cumulative signal power at t = 0..steps, float64, shape (steps + 1,)."""
    f = [math.cos((t / steps + s) / (1 + s) * math.pi / 2) ** 2 for t in range(steps + 1)]
    table, product = [1.0], 1.0
    for t in range(1, steps + 1):
        product *= 1 - min(1 - f[t] / f[t - 1], beta_max)
        table.append(product)
    return torch.tensor(table, dtype=torch.float64)
