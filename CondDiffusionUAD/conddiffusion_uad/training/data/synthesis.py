"""Healthy scans made from label maps, and the augmentation of real ones, batched on the device that trains.

After the idea of SynthSeg (Billot et al. 2023): tissues get random intensities of the wanted contrast, and geometry,
resolution, bias field and noise are random too. Anatomy comes as tissue fractions, so partial volume is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch.nn import functional

from conddiffusion_uad.training.data.anatomy import TISSUES

# Range of the mean intensity of each tissue, by contrast; anything linear in it is normalized away later.
INTENSITIES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "T1": {
        "white matter": (0.80, 0.95), "cortex": (0.48, 0.66), "ventricles": (0.08, 0.22),
        "subarachnoid fluid": (0.08, 0.26), "cerebellar white matter": (0.76, 0.95), "cerebellar cortex": (0.46, 0.66),
        "thalamus": (0.60, 0.80), "caudate": (0.52, 0.68), "putamen": (0.56, 0.72), "pallidum": (0.68, 0.88),
        "brainstem": (0.68, 0.88), "hippocampus": (0.48, 0.66), "choroid plexus": (0.20, 0.50),
    },
    "T2": {
        "white matter": (0.26, 0.40), "cortex": (0.40, 0.58), "ventricles": (0.88, 1.10),
        "subarachnoid fluid": (0.75, 1.10), "cerebellar white matter": (0.28, 0.42), "cerebellar cortex": (0.38, 0.55),
        "thalamus": (0.32, 0.48), "caudate": (0.36, 0.52), "putamen": (0.30, 0.48), "pallidum": (0.18, 0.36),
        "brainstem": (0.28, 0.44), "hippocampus": (0.42, 0.60), "choroid plexus": (0.60, 1.00),
    },
    "FLAIR": {
        "white matter": (0.48, 0.62), "cortex": (0.60, 0.80), "ventricles": (0.04, 0.18),
        "subarachnoid fluid": (0.04, 0.26), "cerebellar white matter": (0.46, 0.62), "cerebellar cortex": (0.56, 0.76),
        "thalamus": (0.52, 0.68), "caudate": (0.58, 0.74), "putamen": (0.54, 0.72), "pallidum": (0.42, 0.60),
        "brainstem": (0.46, 0.68), "hippocampus": (0.62, 0.84), "choroid plexus": (0.40, 0.85),
    },
}  # fmt: skip
CONTRASTS = tuple(INTENSITIES)
RANDOM = "random"  # a contrast of its own: every tissue anywhere between black and white


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """Uniform random numbers, drawn on the CPU so that every device sees the same."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def tissue_intensities(contrast: str, generator: torch.Generator) -> torch.Tensor:
    """Random mean intensity of each tissue of :data:`TISSUES` in one scan of the given contrast, shape (tissues,)."""
    ranges = INTENSITIES.get(contrast)
    if ranges is None:
        return torch.rand(len(TISSUES), generator=generator)
    low, high = torch.tensor([ranges[name] for name in TISSUES]).T
    return low + (high - low) * torch.rand(len(TISSUES), generator=generator)


def smooth_field(
    batch: int, channels: int, size: tuple[int, int], nodes: int, generator: torch.Generator
) -> torch.Tensor:
    """Smooth random fields, standard normal at ``nodes`` x ``nodes`` control points, shape (batch, channels, H, W)."""
    control = torch.randn(batch, channels, nodes, nodes, generator=generator)
    rows, columns = (_bicubic(nodes, pixels) for pixels in size)
    return rows @ control @ columns.T


@cache
def _bicubic(nodes: int, pixels: int) -> torch.Tensor:
    """The matrix (pixels, nodes) that interpolates along one axis: two products are quicker than doing it by pixel."""
    impulses = torch.eye(nodes)[:, None, :, None]
    return functional.interpolate(impulses, (pixels, 1), mode="bicubic", align_corners=True)[:, 0, :, 0].T


def random_grid(
    batch: int, size: tuple[int, int], generator: torch.Generator, *, strength: float = 1.0, mirror: bool = True
) -> torch.Tensor:
    """Sampling grid of a random affine and elastic deformation, for ``grid_sample``, shape (batch, H, W, 2).

    At ``strength`` 1: rotation up to 10 degrees, scale 0.88 to 1.12 for each axis, shift up to 6 %, elastic
    displacement of about 2 % of the image, mirrored left to right in half of the cases.
    """
    angle = strength * uniform((batch,), -0.17, 0.17, generator)
    scale = 1 + strength * uniform((batch, 2), -0.12, 0.12, generator)
    scale[:, 0] *= torch.where(torch.rand(batch, generator=generator) < 0.5 * mirror, -1.0, 1.0)
    shift = strength * uniform((batch, 2), -0.06, 0.06, generator)
    grid = affine(angle, scale, shift, size)
    coarse = smooth_field(batch, 2, size, 4, generator) + 0.4 * smooth_field(batch, 2, size, 10, generator)
    amplitude = strength * uniform((batch, 1, 1, 1), 0.0, 0.04, generator)
    return grid + (amplitude * coarse).permute(0, 2, 3, 1)


def affine(angle: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Sampling grid of a scaling, then a rotation and a shift, about the center of the slice, shape (batch, H, W, 2).

    Args:
        angle: Radians, (batch,).
        scale: Along x and y, (batch, 2).
        shift: Along x and y as fractions of half the slice, (batch, 2).
        size: Height and width; pixels are square.
    """
    cosine, sine, aspect = angle.cos(), angle.sin(), size[0] / size[1]
    rows = [
        torch.stack([cosine * scale[:, 0], -sine * aspect * scale[:, 1], shift[:, 0]], 1),
        torch.stack([sine / aspect * scale[:, 0], cosine * scale[:, 1], shift[:, 1]], 1),
    ]
    return functional.affine_grid(torch.stack(rows, 1), [len(angle), 1, *size], align_corners=False)


def warp(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Sample (B, C, H, W) images at a (B, H, W, 2) grid; zero outside."""
    return functional.grid_sample(images, grid.to(images), mode="bilinear", padding_mode="zeros", align_corners=False)


def render(
    fractions: torch.Tensor,
    intensities: torch.Tensor,
    generator: torch.Generator,
    *,
    one_scan: bool = False,
    texture: float = 0.06,
) -> torch.Tensor:
    """Images from tissue fractions and mean intensities.

    Args:
        fractions: (B, tissues, H, W), each between 0 and 1.
        intensities: (B, tissues).
        generator: Source of randomness.
        one_scan: Whether the batch is the slices of one scan, which share what is random but noise.
        texture: Largest relative standard deviation of a smooth field inside each tissue.

    Returns:
        (B, 1, H, W).
    """
    batch, tissues, height, width = fractions.shape
    draws = 1 if one_scan else batch
    field = smooth_field(draws, tissues, (height, width), 8, generator).to(fractions)
    strength = uniform((draws, 1, 1, 1), 0.0, texture, generator).to(fractions)
    means = intensities.to(fractions)[:, :, None, None]
    return (fractions * (means + strength * field)).sum(1, keepdim=True)


def blurred(images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Gaussian blur of (B, 1, H, W) images with a standard deviation in pixels for each, shape (B,)."""
    offsets = torch.arange(-3, 4, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma.to(images).clamp(min=1e-3)[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    rows = images.transpose(0, 1)
    rows = functional.conv2d(rows, kernel[:, None, :, None], padding=(3, 0), groups=len(images))
    rows = functional.conv2d(rows, kernel[:, None, None, :], padding=(0, 3), groups=len(images))
    return rows.transpose(0, 1)


def degrade(
    images: torch.Tensor, generator: torch.Generator, *, one_scan: bool = False, strength: float = 1.0
) -> torch.Tensor:
    """Residual bias field, limited resolution and noise of an acquisition, each of random strength.

    Args:
        images: (B, 1, H, W), intensities of about 0 to 1.
        generator: Source of randomness.
        one_scan: Whether the batch is the slices of one scan, which share what is random but noise.
        strength: Scales all the effects; 0 leaves the images alone.
    """
    draws, size = 1 if one_scan else len(images), (images.shape[2], images.shape[3])
    bias = uniform((draws, 1, 1, 1), 0.0, 0.06 * strength, generator) * smooth_field(draws, 1, size, 4, generator)
    images = images * torch.exp(bias).to(images)
    images = blurred(images, uniform((draws,), 0.0, 0.7 * strength, generator).expand(len(images)))
    sigma = uniform((draws, 1, 1, 1), 0.0, 0.03 * strength, generator)
    return images + (sigma * torch.randn(images.shape, generator=generator)).to(images)


def ghosted(images: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Ghosts, as of a moving head, in a share of the images (B, 1, H, W).

    Every 2nd to 5th line of k-space along one axis is weakened by up to 40 %, but for those around its center.
    """
    if not share:
        return images
    batch = len(images)
    chosen = torch.rand(batch, generator=generator) < share
    upright = torch.rand(batch, generator=generator) < 0.5
    every = torch.randint(2, 6, (batch, 1), generator=generator)
    strength = uniform((batch, 1), 0.0, 0.4, generator)
    for axis, here in ((2, chosen & upright), (3, chosen & ~upright)):
        line = torch.fft.fftfreq(images.shape[axis], 1 / images.shape[axis]).round().long().abs()
        weakened = (line % every == 0) & (line > 2)
        shape = [batch, 1, 1, 1]
        shape[axis] = -1
        factors = (1 - strength * weakened * here[:, None]).view(shape).to(images)
        images = torch.fft.ifft(torch.fft.fft(images, dim=axis) * factors, dim=axis).real
    return images


def gamma(
    images: torch.Tensor, generator: torch.Generator, log_range: float = 0.25, *, one_scan: bool = False
) -> torch.Tensor:
    """Random power law ``x^exp(g)`` with g uniform in +-``log_range``; images in [0, 1]."""
    draws = 1 if one_scan else len(images)
    exponent = torch.exp(uniform((draws, 1, 1, 1), -log_range, log_range, generator))
    return images.clamp(0, 1) ** exponent.to(images)


def remap(images: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Piecewise linear intensity curve through control points: another contrast from a T1 scan.

    Args:
        images: (B, 1, H, W).
        sources: (B, K), increasing; intensities outside are clamped to the ends.
        targets: (B, K), intensities that the sources become.
    """
    flat = images.flatten(1).contiguous()
    upper = torch.searchsorted(sources.contiguous(), flat).clamp(1, sources.shape[1] - 1)
    x0, x1 = sources.gather(1, upper - 1), sources.gather(1, upper)
    y0, y1 = targets.gather(1, upper - 1), targets.gather(1, upper)
    weight = ((flat - x0) / (x1 - x0)).clamp(0, 1)
    return (y0 + weight * (y1 - y0)).view_as(images)
