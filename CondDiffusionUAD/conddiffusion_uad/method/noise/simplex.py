"""Two-dimensional simplex noise: smooth random fields with structure at several scales.

Paper: Wyatt et al. 2022, "AnoDDPM: Anomaly Detection with Denoising Diffusion Probabilistic Models using Simplex
Noise", CVPR Workshops.

Simplex noise (Perlin 2001) interpolates random gradients that sit on the vertices of a triangular lattice. A fractal
sum of octaves, each with half the wavelength and ``persistence`` times the amplitude of the one before, corrupts
anatomy at all the scales of lesions, where white noise would only corrupt the finest one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from conddiffusion_uad.protocol.job import is_number

OCTAVES = 6
PERSISTENCE = 0.8
WAVELENGTH = 64.0  # of the first octave, in pixels
MOST_OCTAVES = 10
LONGEST = 2048.0  # wavelength, in pixels

_SKEW = (math.sqrt(3) - 1) / 2  # plane -> lattice where the triangles become halves of unit squares
_UNSKEW = (3 - math.sqrt(3)) / 6
_RADIUS2 = 0.5  # squared reach of a vertex's kernel (1/2 - r^2)^4, in lattice units
# Variance of sum_v (1/2 - r_v^2)^4 g_v . d_v over unit gradients of random direction: the vertices have density
# sqrt(3), so it is sqrt(3) * integral_0^{1/2} (1/2 - u)^8 (u / 2) pi du = sqrt(3) * pi / 2 * (1/2)^10 / 90.
_KERNEL_VARIANCE = math.sqrt(3) * math.pi / 2 * 0.5**10 / 90
# Standard deviation of one octave. With six octaves and persistence 0.8 the sum then has 0.59, which is what the fields
# of the published method have.
OCTAVE_STD = 0.59 / math.sqrt(sum(PERSISTENCE ** (2 * k) for k in range(OCTAVES)))


@dataclass(frozen=True)
class Simplex:
    """A fractal sum of simplex noise, the noise of the published method.

    Attributes:
        octaves: Number of scales.
        persistence: Amplitude ratio of an octave to the one before it, in [0, 1].
        wavelength: Period of the first octave in pixels; the finest octave has waves of one pixel at least.
    """

    octaves: int = OCTAVES
    persistence: float = PERSISTENCE
    wavelength: float = WAVELENGTH

    def __post_init__(self) -> None:
        if not isinstance(self.octaves, int) or not is_number(self.octaves, 1, MOST_OCTAVES):
            raise ValueError(f"octaves is a whole number from 1 to {MOST_OCTAVES}")
        if not is_number(self.persistence, 0, 1):
            raise ValueError("persistence is a number from 0 to 1")
        if not is_number(self.wavelength, 2 ** (self.octaves - 1), LONGEST):
            raise ValueError(f"wavelength is a number from 2^(octaves - 1) to {LONGEST:g}")

    def __call__(self, seeds: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        """A field for each seed, float32 (seeds, 1, H, W), of the size and on the device of ``like``."""
        return simplex_noise(seeds, *like.shape[2:], device=like.device, **asdict(self))


def fractal_std(octaves: int = OCTAVES, persistence: float = PERSISTENCE) -> float:
    """Standard deviation of :func:`simplex_noise` over fields and pixels, in closed form (octaves are independent)."""
    return OCTAVE_STD * math.sqrt(sum(persistence ** (2 * k) for k in range(octaves)))


def simplex_noise(
    seeds: Sequence[int],
    height: int,
    width: int,
    *,
    octaves: int = OCTAVES,
    persistence: float = PERSISTENCE,
    wavelength: float = WAVELENGTH,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Independent fractal fields ``sum_k persistence^k simplex(x / (wavelength 2^-k))``, one for each seed.

    Args:
        seeds: One non-negative integer a field; the same seed gives the same field, whatever else is in the batch.
        height, width: Size of a field in pixels.
        persistence: Amplitude ratio of an octave to the one before it.
        wavelength: Period of the first octave in pixels.
        device: Where the field is evaluated. The random numbers are drawn on the CPU, so devices agree.

    Returns:
        float32 tensor of shape (len(seeds), 1, height, width), zero mean, standard deviation :func:`fractal_std`.
    """
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    total = torch.zeros(len(generators), height, width, device=device)
    for octave in range(octaves):
        period = wavelength / 2**octave
        total += persistence**octave * _simplex_octave(
            generators, height / period, width / period, height, width, device
        )
    return total.unsqueeze(1)


def _simplex_octave(
    generators: Sequence[torch.Generator],
    extent_y: float,
    extent_x: float,
    height: int,
    width: int,
    device: torch.device | str,
) -> torch.Tensor:
    """One octave of shape (B, height, width) over a plane of ``extent_y`` by ``extent_x`` wavelengths."""
    # A lattice vertex always carries the value 0, so each field gets an offset of its own: the noise is stationary.
    offset = torch.stack([torch.rand(2, generator=g) for g in generators]).to(device)
    y = (torch.arange(height, device=device) * (extent_y / height) + offset[:, :1])[:, :, None]
    x = (torch.arange(width, device=device) * (extent_x / width) + offset[:, 1:])[:, None, :]
    skewed = (x + y) * _SKEW
    i, j = torch.floor(x + skewed), torch.floor(y + skewed)
    base_x, base_y = x - i + (i + j) * _UNSKEW, y - j + (i + j) * _UNSKEW
    right = (base_x > base_y).float()  # which of the two triangles of the lattice cell

    rows = math.ceil(extent_y + 1 + (extent_x + extent_y + 2) * _SKEW) + 2
    columns = math.ceil(extent_x + 1 + (extent_x + extent_y + 2) * _SKEW) + 2
    angle = 2 * math.pi * torch.stack([torch.rand(rows * columns, generator=g) for g in generators]).to(device)
    gradient_x, gradient_y = torch.cos(angle), torch.sin(angle)

    value = torch.zeros_like(base_x)
    for step_x, step_y, unskew in ((0.0, 0.0, 0.0), (right, 1 - right, _UNSKEW), (1.0, 1.0, 2 * _UNSKEW)):
        dx, dy = base_x - step_x + unskew, base_y - step_y + unskew
        vertex = ((j + step_y) * columns + (i + step_x)).long().flatten(1)
        gx, gy = gradient_x.gather(1, vertex).view_as(dx), gradient_y.gather(1, vertex).view_as(dx)
        value += torch.clamp(_RADIUS2 - dx * dx - dy * dy, min=0) ** 4 * (gx * dx + gy * dy)
    return value * (OCTAVE_STD / math.sqrt(_KERNEL_VARIANCE))
