"""The augmentation of the published training: intensity only, of whole volumes, of which one slice is then taken.

Gamma and bias field act voxel by voxel, blur and ghosting along axes; so a slice needs no more of its volume than a
weighted sum of slices, which is what makes this cheap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from conddiffusion_uad.training.data.synthesis import uniform

# Ranges as in the published training (the defaults of TorchIO).
_LOG_GAMMA = 0.3
_BIAS_COEFFICIENT, _BIAS_ORDER = 0.5, 3
_BLUR_MM = 2.0  # largest standard deviation, along each axis
_GHOSTS, _GHOST_STRENGTH, _GHOST_SPARED = (4, 10), (0.5, 1.0), 0.02
_TRUNCATE = 4.0  # standard deviations at which a Gaussian ends


@dataclass(frozen=True)
class Augmentation:
    """How likely each effect is, 0 to 1, in the order in which they are applied.

    Attributes:
        gamma: Power law ``v^exp(g)``, g uniform in +-0.3.
        bias: Multiplication by ``exp`` of a polynomial of third order with coefficients in +-0.5.
        blur: Gaussian with a standard deviation of up to 2 mm along each axis.
        ghosting: 4 to 10 ghosts along one of the axes: every n-th line of k-space is weakened by 50 to 100 %.
    """

    gamma: float = 0.0
    bias: float = 0.0
    blur: float = 0.0
    ghosting: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= chance <= 1 for chance in vars(self).values()):
            raise ValueError(f"{self} has a probability that is none")

    def slice_of(
        self, volume: torch.Tensor, z: int, spacing: tuple[float, float, float], generator: torch.Generator
    ) -> torch.Tensor:
        """An axial slice of the augmented volume.

        Args:
            volume: (z, y, x) in [0, 1].
            z: Which slice.
            spacing: Along x, y, z, mm.
            generator: Source of randomness.

        Returns:
            float32 (y, x).
        """
        gamma, bias, blur, ghosting = (
            torch.rand(4, generator=generator) < torch.tensor([*vars(self).values()])
        ).tolist()
        exponent = math.exp(float(uniform((), -_LOG_GAMMA, _LOG_GAMMA, generator))) if gamma else 1.0
        coefficients = _bias_coefficients(generator) if bias else None
        sigmas = [s / mm for s, mm in zip(uniform((3,), 0, _BLUR_MM, generator).tolist(), spacing, strict=True)]
        ghosts = _ghosts(volume.shape, generator) if ghosting else None
        weights = torch.eye(len(volume))[z]
        if ghosts and ghosts[0] == 0:
            weights = _filtered(weights, ghosts[1], 0)
        if blur:
            weights = weights @ _gaussian(len(volume), sigmas[2])
        used = weights.abs().gt(1e-6).nonzero()[:, 0]
        slab = volume[used].float()
        slab = slab.clamp(min=0) ** exponent if gamma else slab
        slab = slab if coefficients is None else slab * _bias_field(coefficients, volume.shape, used)
        image = torch.tensordot(weights[used], slab, 1)
        if blur:
            image = _gaussian(len(image), sigmas[1]) @ image @ _gaussian(image.shape[1], sigmas[0]).T
        return _filtered(image, ghosts[1], ghosts[0] - 1) if ghosts and ghosts[0] > 0 else image


def _bias_coefficients(generator: torch.Generator) -> torch.Tensor:
    """Of the powers of z, y and x, (order + 1) along each."""
    powers = torch.arange(_BIAS_ORDER + 1)
    drawn = uniform((len(powers),) * 3, -_BIAS_COEFFICIENT, _BIAS_COEFFICIENT, generator)
    return drawn * (powers[:, None, None] + powers[:, None] + powers <= _BIAS_ORDER)


def _bias_field(coefficients: torch.Tensor, shape: torch.Size, used: torch.Tensor) -> torch.Tensor:
    """``exp`` of the polynomial in coordinates from -1 to 1, at some slices of a volume, (slices, y, x)."""
    powers = torch.arange(_BIAS_ORDER + 1)
    z, y, x = (torch.linspace(-1, 1, size)[:, None] ** powers for size in shape)
    in_plane = torch.einsum("kji,yj,xi->kyx", coefficients, y, x)
    return torch.tensordot(z[used], in_plane, 1).exp()


def _gaussian(size: int, sigma: float) -> torch.Tensor:
    """The matrix that blurs a signal of ``size`` samples; its rows sum to one."""
    distance = torch.arange(float(size))[:, None] - torch.arange(float(size))
    kernel = torch.exp(-0.5 * (distance / max(sigma, 1e-3)) ** 2) * (distance.abs() <= _TRUNCATE * max(sigma, 1e-3))
    return kernel / kernel.sum(1, keepdim=True)


def _ghosts(shape: torch.Size, generator: torch.Generator) -> tuple[int, torch.Tensor]:
    """The axis (of z, y, x) and what the lines of k-space along it are multiplied by, zero frequency first."""
    axis = int(torch.randint(3, (), generator=generator))
    count = int(torch.randint(_GHOSTS[0], _GHOSTS[1] + 1, (), generator=generator))
    strength = float(uniform((), *_GHOST_STRENGTH, generator))
    size = shape[axis]
    factors = torch.ones(size)
    factors[::count] = 1 - strength
    spared = max(1, round(_GHOST_SPARED * size))
    low = size // 2 - spared // 2
    factors[low : low + spared] = 1  # the center keeps the brightness of the whole
    return axis, torch.fft.ifftshift(factors)


def _filtered(values: torch.Tensor, factors: torch.Tensor, axis: int) -> torch.Tensor:
    shape = [1] * values.ndim
    shape[axis] = -1
    return torch.fft.ifft(torch.fft.fft(values, dim=axis) * factors.view(shape), dim=axis).real
