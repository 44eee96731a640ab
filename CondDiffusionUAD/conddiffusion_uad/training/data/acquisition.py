"""From tissue to a scan as it reaches the model: coil, slices, resolution, motion, noise, brain mask, normalization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from conddiffusion_uad.training.data.lattice import Lattice, SmoothField, blurred
from conddiffusion_uad.training.data.synthesis import filtered

_RIND = 3.0  # pixels: how thick what is left of the skull may be


@dataclass(frozen=True)
class Acquisition:
    """How a scan was taken.

    Attributes:
        bias: Field of the coil, one channel; its strength is the standard deviation of its logarithm.
        bias_strength: See there.
        thickness: Of the slices, mm; 2 or less leaves the lattice's slices alone.
        blur: Standard deviation of the blur in plane, pixels.
        noise: Standard deviation, as a share of the spread of intensities.
        smooth_noise: Whether resampling has smoothed the noise.
        ghost: (axis, every which line, strength) of a head that moves with its pulse or breath; None without.
        motion: (axis, first line, pixels) of a head that nodded while the lines of k-space from there on were taken, to
            and fro by so much; None without.
        rim: Where the brain mask ends: share of brain, and strength of a smooth error.
        rim_field: That error.
        rind: Brightness of what the mask wrongly holds around the brain; None when it holds nothing.
        gamma: Exponent after normalization.
    """

    bias: SmoothField
    bias_strength: float
    thickness: float
    blur: float
    noise: float
    smooth_noise: bool
    ghost: tuple[int, int, float] | None
    motion: tuple[int, int, float] | None
    rim: tuple[float, float]
    rim_field: SmoothField
    rind: float | None
    gamma: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, real: bool) -> Acquisition:
        """A random one; milder in blur and noise for a real scan, which has its own."""
        ghost = (
            (int(rng.integers(1, 3)), int(rng.integers(2, 6)), rng.uniform(0.05, 0.35)) if rng.random() < 0.1 else None
        )
        motion = (int(rng.integers(1, 3)), int(rng.integers(8, 40)), rng.uniform(0.4, 2.0))
        return cls(
            bias=SmoothField.draw(rng, 1, 4),
            bias_strength=rng.uniform(0.06, 0.14) if rng.random() < 0.15 else rng.uniform(0, 0.05),
            thickness=rng.uniform(2.5, 7.0) if rng.random() < 0.5 else 2.0,
            blur=rng.uniform(0, 0.6) if real else rng.uniform(0.45, 1.0),
            noise=rng.uniform(0, 0.015 if real else 0.035),
            smooth_noise=bool(rng.random() < 0.6),
            ghost=ghost,
            motion=motion if rng.random() < 0.08 else None,
            rim=(rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.35) if rng.random() < 0.3 else 0.0),
            rim_field=SmoothField.draw(rng, 1, 24),
            rind=rng.uniform(0, 1.8) if rng.random() < (0.1 if real else 0.2) else None,
            gamma=float(np.exp(rng.uniform(-0.2, 0.2))),
        )

    def shade(self, image: torch.Tensor, lattice: Lattice) -> torch.Tensor:
        """The image under the coil's field."""
        return image * torch.exp(self.bias_strength * self.bias.on(lattice)[0])

    def mask(self, brain: torch.Tensor, lattice: Lattice) -> torch.Tensor:
        """The brain mask, boolean, from the share of brain (Z, Y, X)."""
        width = 1.5 if self.rind is None else _RIND
        share = blurred(brain, (0.0, width, width)) if self.rim[1] or self.rind is not None else brain
        if self.rim[1]:
            share = share + self.rim[1] * self.rim_field.on(lattice)[0] * ((share > 0.02) & (share < 0.98))
        if self.rind is None:
            return share > self.rim[0]
        return (share > 0.1 + 0.4 * self.bias.on(lattice)[0].clamp(0, 1)) | (brain > self.rim[0])  # thick and thin

    def slices(self, lattice: Lattice) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Matrices that average thin slices to thick ones, and that interpolate these back; None for thin ones."""
        z = lattice.z
        if self.thickness <= 2.0 or len(z) < 3:
            return None
        centers = torch.arange(float(z[0]), float(z[-1]) + self.thickness, self.thickness)
        share = (self.thickness / 2 + 1.0 - (z[None] - centers[:, None]).abs()).clamp(0, 2.0)
        share = share / share.sum(1, keepdim=True).clamp(min=1e-6)
        place = ((z - centers[0]) / self.thickness).clamp(0, len(centers) - 1)
        back = (1 - (place[:, None] - torch.arange(len(centers))).abs()).clamp(min=0)
        return share.to(lattice.device), back.to(lattice.device)

    def acquired(self, image: torch.Tensor, lattice: Lattice, spread: float, rng: np.random.Generator) -> torch.Tensor:
        """Thick slices, blur, ghosts, motion and noise, on (Z, Y, X) intensities."""
        matrices = self.slices(lattice)
        if matrices is not None:
            image = torch.einsum("kz,zyx->kyx", matrices[0], image)
        image = blurred(image, (0.0, self.blur, self.blur))
        if self.ghost is not None:
            image = _ghosted(image, *self.ghost)
        if self.motion is not None:
            image = _moved(image, *self.motion)
        noise = torch.from_numpy(rng.standard_normal(tuple(image.shape), np.float32)).to(image)
        if self.smooth_noise:
            noise = 1.8 * blurred(noise, (0.0, 0.6, 0.6))
        image = image + self.noise * spread * noise
        return image if matrices is None else torch.einsum("zk,kyx->zyx", matrices[1], image)


def _ghosted(image: torch.Tensor, axis: int, every: int, strength: float) -> torch.Tensor:
    """Every ``every``-th line of k-space along an axis weakened, but for those around its center."""
    line = _lines(image, axis)
    return filtered(image, 1 - strength * ((line % every == 0) & (line > 2)).to(image.dtype), axis)


def _moved(image: torch.Tensor, axis: int, first: int, pixels: float) -> torch.Tensor:
    """Lines of k-space from ``first`` on are the mean of the head's shifted to and fro: edges ring and are doubled."""
    line = _lines(image, axis)
    shifted = torch.cos(2 * torch.pi * line * pixels / image.shape[axis])
    return filtered(image, torch.where(line < first, 1.0, shifted), axis)


def _lines(image: torch.Tensor, axis: int) -> torch.Tensor:
    """Distance of each line of k-space along an axis from its center, shaped to be multiplied with the spectrum."""
    size = image.shape[axis]
    line = torch.fft.fftfreq(size, 1 / size, device=image.device).round().long().abs()
    return line.view([-1 if k == axis else 1 for k in range(image.dim())])
