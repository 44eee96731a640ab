"""Made-up anomalies: patches that do not belong there, which the model learns to take out again.

After the idea of DISYRE (Naval Marimont et al. 2023): a denoiser that has also seen local corruptions of tissue
restores lesions to what is usual, at noise levels that leave healthy detail alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from conddiffusion_uad.training.data.synthesis import smooth_field, uniform

# Chance that a slice with anomalies has one more, and the largest radius in pixels, for the first and each further one.
_PRESENT = (1.0, 0.5, 0.4, 0.3)
_LARGEST = (18.0, 6.0, 4.0, 3.0)
_SMALLEST = 1.2
_EDGE = (0.4, 1.5)  # width of the transition to healthy tissue, pixels
_IRREGULARITY = 0.35  # standard deviation of the outline, in radii


@dataclass(frozen=True)
class AnomalySettings:
    """How often slices are corrupted, and how much the corrupted places count.

    Attributes:
        share: Of the slices that get anomalies; 0 for the published training.
        weight: How much more an error counts inside an anomaly than elsewhere.
    """

    share: float
    weight: float


def corrupt(slices: torch.Tensor, share: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Put anomalies into healthy slices.

    Args:
        slices: (B, 1, H, W) in [0, 1], 0 outside the brain.
        share: Of the slices that get at least one.
        generator: Source of randomness.

    Returns:
        The corrupted slices, and where they were corrupted, 0 to 1; both (B, 1, H, W).
    """
    brain = (slices > 0).to(slices.dtype)
    chosen = torch.rand(len(slices), generator=generator) < share
    corrupted, where = slices, torch.zeros_like(slices)
    stages = zip(_PRESENT, _LARGEST, strict=True) if share else ()
    for present, largest in stages:
        active = chosen & (torch.rand(len(slices), generator=generator) < present)
        shape = blobs(brain, largest, generator) * active[:, None, None, None].to(slices)
        corrupted = corrupted + shape * (_abnormal(corrupted, generator) - corrupted)
        where = torch.maximum(where, shape)
    return corrupted.clamp(1e-3, 1) * brain, where


def blobs(brain: torch.Tensor, largest: float, generator: torch.Generator) -> torch.Tensor:
    """One irregular soft-edged ellipse inside the brain of each slice: (B, 1, H, W), 0 to 1.

    Args:
        brain: Mask, (B, 1, H, W), 0 or 1.
        largest: Largest radius in pixels; sizes are uniform on a logarithmic scale.
        generator: Source of randomness.
    """
    batch, _, height, width = brain.shape
    place = torch.multinomial(brain.flatten(1).cpu().float() + 1e-9, 1, generator=generator)
    y = torch.arange(height).view(1, -1, 1) - (place // width)[:, :, None]
    x = torch.arange(width).view(1, 1, -1) - (place % width)[:, :, None]
    angle = uniform((batch, 1, 1), 0, math.pi, generator)
    stretch = torch.exp(uniform((batch, 1, 1), -0.5, 0.5, generator))
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    radius = torch.exp(uniform((batch, 1, 1), math.log(_SMALLEST), math.log(largest), generator))
    distance = torch.sqrt((along / stretch) ** 2 + (across * stretch) ** 2) / radius
    outline = 1 + _IRREGULARITY * smooth_field(batch, 1, (height, width), 12, generator)[:, 0]
    edge = uniform((batch, 1, 1), *_EDGE, generator)
    return torch.sigmoid(4 * (outline - distance) * radius / edge).unsqueeze(1).to(brain) * brain


def _abnormal(slices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """What takes the place of healthy tissue: an even intensity, the tissue shifted in intensity, or foreign tissue."""
    batch, size = len(slices), (slices.shape[2], slices.shape[3])
    texture = 0.08 * smooth_field(batch, 1, size, 12, generator).to(slices)
    opacity = uniform((batch, 1, 1, 1), 0.3, 1.0, generator).to(slices)
    even = uniform((batch, 1, 1, 1), 0.0, 1.0, generator).to(slices) + texture
    sign = torch.where(torch.rand(batch, 1, 1, 1, generator=generator) < 0.5, -1.0, 1.0)
    shifted = slices + (sign * uniform((batch, 1, 1, 1), 0.1, 0.6, generator)).to(slices) + texture
    foreign = slices.roll(1, 0).flip(2)
    kind = torch.rand(batch, 1, 1, 1, generator=generator).to(slices)
    blended = slices + opacity * (torch.where(kind < 0.7, even, foreign) - slices)
    return torch.where(kind < 0.4, shifted, blended).clamp(0, 1)
