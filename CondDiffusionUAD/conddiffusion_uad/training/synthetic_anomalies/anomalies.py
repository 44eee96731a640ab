"""Synthetic anomalies: patches that do not belong there, which the model learns to take out again.

After the idea of DISYRE (Naval Marimont et al. 2023): a denoiser that has also seen local corruptions of tissue
restores lesions to what is usual, at noise levels that leave healthy detail alone.
"""

from __future__ import annotations

import math

import torch

from conddiffusion_uad.training.data.synthesis import smooth_field, uniform

# Chance that a slice with anomalies has one more, and the largest radius in pixels, for the first and each further one.
# Set by hand for this project, at pixels of 2 mm: from lesions of a few voxels to tumors of 7 cm, and seldom just one.
_PRESENT = (1.0, 0.5, 0.4, 0.3)
_LARGEST = (18.0, 6.0, 4.0, 3.0)
_SMALLEST = 1.2
_EDGE = (0.4, 1.5)  # width of the transition to healthy tissue, pixels
_IRREGULARITY = 0.35  # standard deviation of the outline, in radii


def corrupt(
    volume: torch.Tensor, share: float, generator: torch.Generator, *, reach: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put anomalies into healthy slabs; they lie in the brain of the middle slice and reach through all of them.

    Args:
        volume: (B, 1 + 2 * reach, H, W) in [0, 1], 0 outside the brain.
        share: Of the slabs that get at least one.
        generator: Source of randomness.
        reach: Slices on either side of the middle one.

    Returns:
        The corrupted slabs, same shape, and where they were corrupted, 0 to 1, (B, 1, H, W).
    """
    brain = (volume > 0).to(volume.dtype)
    middle = brain[:, reach, None]
    chosen = torch.rand(len(volume), generator=generator) < share
    corrupted, where = volume, torch.zeros_like(middle)
    stages = zip(_PRESENT, _LARGEST, strict=True) if share else ()
    for present, largest in stages:
        active = chosen & (torch.rand(len(volume), generator=generator) < present)
        shape = blobs(middle, largest, generator) * active[:, None, None, None].to(volume)
        corrupted = corrupted + shape * brain * (_abnormal(corrupted, generator) - corrupted)
        where = torch.maximum(where, shape * middle)
    return corrupted.clamp(1e-3, 1) * brain, where


def blobs(brain: torch.Tensor, largest: float, generator: torch.Generator) -> torch.Tensor:
    """One irregular soft-edged ellipse about a place in the brain of each slice: (B, 1, H, W), 0 to 1.

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
    return torch.sigmoid(4 * (outline - distance) * radius / edge).unsqueeze(1).to(brain)


def _abnormal(volume: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """What takes the place of healthy tissue, same shape (B, D, H, W).

    In 40 % of the slabs the tissue itself, shifted in intensity; in 30 % an even intensity, in 30 % the tissue of
    another slab, both more or less opaque.
    """
    batch, size = len(volume), (volume.shape[2], volume.shape[3])
    texture = 0.08 * smooth_field(batch, 1, size, 12, generator).to(volume)
    opacity = uniform((batch, 1, 1, 1), 0.3, 1.0, generator).to(volume)
    even = uniform((batch, 1, 1, 1), 0.0, 1.0, generator).to(volume) + texture
    sign = torch.where(torch.rand(batch, 1, 1, 1, generator=generator) < 0.5, -1.0, 1.0)
    shifted = volume + (sign * uniform((batch, 1, 1, 1), 0.1, 0.6, generator)).to(volume) + texture
    foreign = volume.roll(1, 0).flip(2)
    kind = torch.rand(batch, 1, 1, 1, generator=generator).to(volume)
    blended = volume + opacity * (torch.where(kind < 0.7, even, foreign) - volume)
    return torch.where(kind < 0.4, shifted, blended).clamp(0, 1)
