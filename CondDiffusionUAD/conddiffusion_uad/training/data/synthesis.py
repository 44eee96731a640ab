"""Healthy scans made from label maps, and the augmentation of real ones, batched on the device that trains.

After the idea of SynthSeg (Billot et al. 2023): tissues get random intensities of the wanted contrast, and geometry,
resolution, bias field and noise are random too. Anatomy comes as tissue fractions, so partial volume is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch.nn import functional

from conddiffusion_uad.training.data.anatomy import INTENSITIES, TISSUES

RANDOM = "random"  # a contrast of its own: every tissue anywhere between black and white
PROBE = 4096  # voxels of a volume that its percentiles are estimated from
_RANDOM_SHARE = 0.1  # of scans with a contrast of their own, so that none is learned by heart; set by hand


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
    per_scan: int = 1,
    texture: float = 0.06,
) -> torch.Tensor:
    """Images from tissue fractions and mean intensities.

    Args:
        fractions: (B, tissues, H, W), each between 0 and 1.
        intensities: (B, tissues).
        per_scan: How many slices in a row are of one scan, and share what is random.
        texture: Largest relative standard deviation of a smooth field inside each tissue.

    Returns:
        (B, 1, H, W).
    """
    batch, tissues, height, width = fractions.shape
    scans = batch // per_scan
    field = smooth_field(scans, tissues, (height, width), 8, generator).to(fractions)
    strength = uniform((scans, 1, 1, 1), 0.0, texture, generator).to(fractions)
    texture_of_slices = (strength * field).repeat_interleave(per_scan, 0)
    means = intensities.to(fractions)[:, :, None, None]
    return (fractions * (means + texture_of_slices)).sum(1, keepdim=True)


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
    images: torch.Tensor, generator: torch.Generator, *, per_scan: int = 1, strength: float = 1.0
) -> torch.Tensor:
    """Residual bias field, limited resolution and noise of an acquisition, each of random strength.

    Args:
        images: (B, 1, H, W), intensities of about 0 to 1.
        per_scan: How many slices in a row are of one scan, and share what is random but noise.
        strength: Scales all the effects; 0 leaves the images alone.
    """
    scans, size = len(images) // per_scan, (images.shape[2], images.shape[3])
    bias = uniform((scans, 1, 1, 1), 0.0, 0.06 * strength, generator) * smooth_field(scans, 1, size, 4, generator)
    images = images * torch.exp(bias).to(images).repeat_interleave(per_scan, 0)
    images = blurred(images, uniform((scans,), 0.0, 0.7 * strength, generator).repeat_interleave(per_scan, 0))
    sigma = uniform((scans, 1, 1, 1), 0.0, 0.03 * strength, generator).repeat_interleave(per_scan, 0)
    return images + (sigma * torch.randn(images.shape, generator=generator)).to(images)


def ghosted(images: torch.Tensor, share: float, generator: torch.Generator, *, per_scan: int = 1) -> torch.Tensor:
    """Ghosts, as of a moving head, in a share of the scans.

    Every 2nd to 5th line of k-space along one axis is weakened by up to 40 %, but for those around its center.

    Args:
        images: (B, 1, H, W).
        per_scan: How many slices in a row are of one scan.
    """
    if not share:
        return images
    scans = len(images) // per_scan
    chosen = torch.rand(scans, generator=generator) < share
    upright = torch.rand(scans, generator=generator) < 0.5
    every = torch.randint(2, 6, (scans, 1), generator=generator)
    strength = uniform((scans, 1), 0.0, 0.4, generator)
    for axis, here in ((2, chosen & upright), (3, chosen & ~upright)):
        line = torch.fft.fftfreq(images.shape[axis], 1 / images.shape[axis]).round().long().abs()
        weakened = (line % every == 0) & (line > 2)
        factors = (1 - strength * weakened * here[:, None]).repeat_interleave(per_scan, 0)
        images = filtered(images, factors[:, None, None, :] if axis == 3 else factors[:, None, :, None], axis)
    return images


def filtered(values: torch.Tensor, factors: torch.Tensor, axis: int) -> torch.Tensor:
    """Real values, any shape, whose spectrum along an axis is multiplied by factors, zero frequency first."""
    return torch.fft.ifft(torch.fft.fft(values, dim=axis) * factors.to(values), dim=axis).real


def gamma(
    images: torch.Tensor, generator: torch.Generator, log_range: float = 0.25, *, per_scan: int = 1
) -> torch.Tensor:
    """Random power law ``x^exp(g)`` with g uniform in +-``log_range``, one for each ``per_scan`` slices in a row.

    Images (B, 1, H, W) in [0, 1].
    """
    scans = len(images) // per_scan
    exponent = torch.exp(uniform((scans, 1, 1, 1), -log_range, log_range, generator)).repeat_interleave(per_scan, 0)
    return images.clamp(0, 1) ** exponent.to(images)


def remap(images: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Piecewise linear intensity curve through control points: another contrast from a T1 scan.

    Args:
        images: (B, 1, H, W).
        sources: (B, K), not decreasing; intensities outside are clamped to the ends.
        targets: (B, K), intensities that the sources become.
    """
    flat = images.flatten(1).contiguous()
    upper = torch.searchsorted(sources.contiguous(), flat).clamp(1, sources.shape[1] - 1)
    x0, x1 = sources.gather(1, upper - 1), sources.gather(1, upper)
    y0, y1 = targets.gather(1, upper - 1), targets.gather(1, upper)
    weight = ((flat - x0) / (x1 - x0).clamp(min=1e-6)).clamp(0, 1)  # two points may be one
    return (y0 + weight * (y1 - y0)).view_as(images)


def random_contrast(contrasts: Sequence[str], generator: torch.Generator) -> str:
    """One of the contrasts, or now and then one of its own."""
    if torch.rand(1, generator=generator) < _RANDOM_SHARE:
        return RANDOM
    return contrasts[int(torch.randint(len(contrasts), (1,), generator=generator))]


def one_of(values: np.ndarray, generator: torch.Generator) -> int:
    """One of the values, each as likely."""
    return int(values[int(torch.randint(len(values), (1,), generator=generator))])


def normalized(images: torch.Tensor, probe: torch.Tensor) -> torch.Tensor:
    """Bring the 1st and 99th percentile of the probe, (B, voxels), to 0 and 1 in the images, (B, 1, H, W), and clip."""
    percentiles = torch.quantile(probe.float(), torch.tensor([0.01, 0.99], device=probe.device), dim=1)
    low, high = percentiles[:, :, None, None, None]
    return ((images - low) / (high - low).clamp(min=1e-3)).clamp(0, 1)
