"""Slabs of synthetic scans, made from label maps without end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data.prepared import Anatomy
from conddiffusion_uad.training.data.slabs import Slabs, View
from conddiffusion_uad.training.data.synthesis import (
    PROBE,
    degrade,
    gamma,
    ghosted,
    normalized,
    one_of,
    random_contrast,
    random_grid,
    render,
    tissue_intensities,
    uniform,
    warp,
)

# Set by hand for this project.
_OUTLINE = (0.2, 0.8)  # share of brain in a voxel from which it belongs to the mask
_SLICES_AVERAGED = (1, 3)  # thinnest and thickest slice of a synthetic scan, in slices of the grid
_LOG_GAMMA = 0.15  # largest logarithm of the exponent; the intensities of tissues are random already


class AnatomySampler:
    """Synthetic scans from label maps.

    Args:
        anatomies: They stay where they are, mapped from disk; what is drawn goes to the device.
        seed: Of the choice of voxels whose percentiles scale the intensities.
    """

    def __init__(
        self,
        anatomies: Sequence[Anatomy],
        device: torch.device,
        view: View,
        contrasts: Sequence[str] = CONTRASTS,
        ghosting: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._contrasts, self._ghosting, self._device, self._view = contrasts, ghosting, device, view
        rng = np.random.default_rng(seed)
        self._fractions = [torch.from_numpy(a.fractions) for a in anatomies]
        self._filled = [np.flatnonzero(a.fractions[-1].any(axis=(1, 2))) for a in anatomies]
        self._probes = [self._probe(a.fractions, rng).to(device) for a in anatomies]

    @staticmethod
    def _probe(fractions: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        """Tissue fractions of some voxels of the brain, (voxels, tissues)."""
        inside = np.argwhere(fractions[-1] > 127)
        z, y, x = inside[rng.integers(len(inside), size=PROBE)].T
        return torch.from_numpy(fractions[:-1, z, y, x].T.astype(np.float32) / 255)

    def draw(self, count: int, generator: torch.Generator) -> Slabs:
        """Random places in random scans of random contrast."""
        subjects = torch.randint(len(self._fractions), (count,), generator=generator).tolist()
        thinnest, thickest = _SLICES_AVERAGED
        thickness = torch.randint(thinnest, thickest + 1, (count,), generator=generator).tolist()
        z = [one_of(self._filled[subject], generator) for subject in subjects]
        fractions = torch.cat([self._slab(*place) for place in zip(subjects, z, thickness, strict=True)])
        contrasts = [random_contrast(self._contrasts, generator) for _ in subjects]
        intensities = torch.stack([tissue_intensities(contrast, generator) for contrast in contrasts])
        deep = self._view.thickness
        grid = random_grid(count, tuple(fractions.shape[2:]), generator).repeat_interleave(deep, 0)
        images = synthesize(
            warp(fractions, grid),
            intensities.repeat_interleave(deep, 0),
            torch.stack([self._probes[subject] for subject in subjects]).repeat_interleave(deep, 0),
            generator,
            per_scan=deep,
            ghosting=self._ghosting,
        )
        return Slabs.of(images, images > 0, z, contrasts, self._view)

    def _slab(self, subject: int, z: int, thickness: int) -> torch.Tensor:
        """Fractions around a place, (slices, tissues + 1, H, W), each the mean of ``thickness`` slices of the grid."""
        fractions, reach = self._fractions[subject], self._view.reach
        result = torch.zeros(self._view.thickness, *fractions[:, 0].shape, device=self._device)
        for layer, at in enumerate(range(z - reach, z + reach + 1)):
            low, high = max(0, at - (thickness - 1) // 2), at + thickness // 2 + 1
            if low < min(high, fractions.shape[1]):  # beyond the volume it stays empty
                result[layer] = fractions[:, low:high].to(self._device).float().mean(1) / 255
        return result

    def volume(self, subject: int, contrast: str, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A whole synthetic scan and its mask, each (z, 1, H, W), of a subject in its own shape."""
        fractions = self._fractions[subject].to(self._device).permute(1, 0, 2, 3).float() / 255
        intensities = tissue_intensities(contrast, generator).expand(len(fractions), -1)
        probes = self._probes[subject].expand(len(fractions), -1, -1)
        images = synthesize(fractions, intensities, probes, generator, per_scan=len(fractions))
        return images, images > 0


def synthesize(
    fractions: torch.Tensor,
    intensities: torch.Tensor,
    probes: torch.Tensor,
    generator: torch.Generator,
    *,
    per_scan: int = 1,
    ghosting: float = 0.0,
) -> torch.Tensor:
    """Normalized slices, 0 outside the brain, whose outline varies as that of skull strippers does.

    Args:
        fractions: (B, tissues + 1, H, W), see :class:`Anatomy`, each between 0 and 1.
        intensities: Mean of each tissue, (B, tissues).
        probes: Fractions of voxels of the whole brain, (B, voxels, tissues).
        per_scan: How many slices in a row are of one scan, and share what is random but noise.

    Returns:
        (B, 1, H, W).
    """
    tissue, brain = fractions[:, :-1], fractions[:, -1:]
    images = render(tissue, intensities, generator, per_scan=per_scan)
    images = ghosted(degrade(images, generator, per_scan=per_scan), ghosting, generator, per_scan=per_scan)
    scans = len(images) // per_scan
    edge = uniform((scans, 1, 1, 1), *_OUTLINE, generator).to(images).repeat_interleave(per_scan, 0)
    probe = (probes * intensities.to(probes)[:, None, :]).sum(2)
    images = gamma(normalized(images, probe), generator, _LOG_GAMMA, per_scan=per_scan)
    return images.clamp(min=1e-3) * (brain > edge)
