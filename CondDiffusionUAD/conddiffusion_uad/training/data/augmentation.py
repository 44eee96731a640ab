"""The augmentation of the published training: intensity only, of whole volumes, of which one slice is then taken.

Gamma and bias field act voxel by voxel, blur and ghosting along the axes. So a slice of the augmented volume is a
weighted sum of slices that are changed voxel by voxel, filtered within its plane: all other slices need not be made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from conddiffusion_uad.training.data.synthesis import filtered, uniform
from conddiffusion_uad.training.table import Table, require_range

# Ranges as in the published training, which are the defaults of TorchIO's RandomGamma, RandomBiasField, RandomBlur and
# RandomGhosting. TorchIO itself would make whole volumes, of which one slice in fifty is used.
_LOG_GAMMA = 0.3
_BIAS_COEFFICIENT, _BIAS_ORDER = 0.5, 3
_BLUR_MM = 2.0  # largest standard deviation, along each axis
_GHOSTS, _GHOST_STRENGTH, _GHOST_SPARED = (4, 10), (0.5, 1.0), 0.02
_TRUNCATE = 4.0  # standard deviations at which a Gaussian ends


@dataclass(frozen=True)
class Augmentation(Table):
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
        super().__post_init__()
        for name, chance in vars(self).items():
            require_range(chance, 0, 1, name)

    def slices_of(
        self, volume: torch.Tensor, z: Sequence[int], spacing: tuple[float, float, float], generator: torch.Generator
    ) -> torch.Tensor:
        """Axial slices of the augmented volume.

        Args:
            volume: (depth, height, width) in [0, 1].
            z: Which; those beyond the volume are empty.
            spacing: Along x, y, z, mm.

        Returns:
            float32 (slices, height, width).
        """
        effects = self._drawn(volume.shape, spacing, generator)
        along_z, along_y, along_x = (effects.along(axis) for axis in range(3))
        weights = torch.stack([along_z[at] if 0 <= at < len(volume) else torch.zeros(len(volume)) for at in z])
        used = weights.abs().amax(0).gt(1e-6).nonzero()[:, 0]
        planes = torch.tensordot(weights[:, used], effects.voxel_by_voxel(volume, used), 1)
        return planes if effects.leaves_planes else along_y @ planes @ along_x.T

    def _drawn(self, shape: Sequence[int], spacing: tuple[float, float, float], generator: torch.Generator) -> _Effects:
        """Draw which effects there are, and how strong they are."""
        happens = torch.rand(4, generator=generator) < torch.tensor([*vars(self).values()])
        gamma, bias, blur, ghosting = happens.tolist()
        exponent = math.exp(float(uniform((), -_LOG_GAMMA, _LOG_GAMMA, generator))) if gamma else None
        coefficients = _bias_coefficients(generator) if bias else None
        blur_mm = uniform((3,), 0, _BLUR_MM, generator).tolist()
        sigmas = [mm / size for mm, size in zip(blur_mm, spacing, strict=True)][::-1] if blur else None
        ghosts = _ghosts(shape, generator) if ghosting else None
        return _Effects(tuple(shape), exponent, coefficients, sigmas, ghosts)


@dataclass(frozen=True)
class _Effects:
    """What happens to one volume.

    Attributes:
        shape: Of the volume, (depth, height, width).
        exponent: Of the power law.
        coefficients: Of the bias field, see :func:`_bias_coefficients`.
        sigmas: Of the blur along z, y and x, voxels.
        ghosts: An axis, and factors of its lines of k-space, see :func:`_ghosts`.
    """

    shape: tuple[int, ...]
    exponent: float | None
    coefficients: torch.Tensor | None
    sigmas: Sequence[float] | None
    ghosts: tuple[int, torch.Tensor] | None

    def voxel_by_voxel(self, volume: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
        """Some slices of the volume after gamma and bias field, float32 (used, height, width)."""
        slices = volume[used].float()
        if self.exponent is not None:
            slices = slices.clamp(min=0) ** self.exponent
        return slices if self.coefficients is None else slices * _bias_field(self.coefficients, self.shape, used)

    def along(self, axis: int) -> torch.Tensor:
        """The matrix of blur, then ghosting, along an axis of the volume, (size, size)."""
        size = self.shape[axis]
        matrix = torch.eye(size) if self.sigmas is None else _gaussian(size, self.sigmas[axis])
        if self.ghosts is not None and self.ghosts[0] == axis:
            matrix = filtered(matrix, self.ghosts[1][:, None], 0)
        return matrix

    @property
    def leaves_planes(self) -> bool:
        """Whether nothing is filtered within the slices."""
        return self.sigmas is None and (self.ghosts is None or self.ghosts[0] == 0)


def _bias_coefficients(generator: torch.Generator) -> torch.Tensor:
    """Of the powers of z, y and x, (order + 1) along each."""
    powers = torch.arange(_BIAS_ORDER + 1)
    drawn = uniform((len(powers),) * 3, -_BIAS_COEFFICIENT, _BIAS_COEFFICIENT, generator)
    return drawn * (powers[:, None, None] + powers[:, None] + powers <= _BIAS_ORDER)


def _bias_field(coefficients: torch.Tensor, shape: Sequence[int], used: torch.Tensor) -> torch.Tensor:
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


def _ghosts(shape: Sequence[int], generator: torch.Generator) -> tuple[int, torch.Tensor]:
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
