"""Slabs of real scans, drawn and augmented without end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.prepared import Scan
from conddiffusion_uad.training.data.slabs import Slabs, View, around
from conddiffusion_uad.training.data.synthesis import (
    PROBE,
    degrade,
    gamma,
    normalized,
    one_of,
    random_contrast,
    random_grid,
    remap,
    tissue_intensities,
    warp,
)

# Set by hand for this project.
_REMAP_SHARE = 0.65  # of T1 scans that become another contrast: few real scans have another one
_DEFORMED, _DEGRADED = 0.7, 0.4  # strength of both, against synthetic scans: real ones vary by themselves
_FLUID, _GRAY, _WHITE = (list(TISSUES).index(name) for name in ("ventricles", "cortex", "white matter"))


class ScanSampler:
    """Real scans; T1-weighted ones with known tissue intensities also as others of the given contrasts.

    Args:
        scans: They stay where they are, mapped from disk; what is drawn goes to the device.
        contrasts: That T1-weighted scans are turned into.
        seed: Of the choice of voxels whose percentiles scale the intensities.
    """

    def __init__(
        self,
        scans: Sequence[Scan],
        device: torch.device,
        view: View,
        contrasts: Sequence[str] = CONTRASTS,
        seed: int = 0,
    ) -> None:
        self._scans, self._device, self._view, self._contrasts = scans, device, view, contrasts
        rng = np.random.default_rng(seed)
        self._filled = [np.flatnonzero(s.mask.any(axis=(1, 2))) for s in scans]
        self._probes = [
            torch.from_numpy(rng.choice(s.volume[s.mask], PROBE).astype(np.float32)).to(device) for s in scans
        ]

    def draw(self, count: int, generator: torch.Generator) -> Slabs:
        """Random places in random scans, as another contrast now and then, deformed and degraded."""
        chosen = torch.randint(len(self._scans), (count,), generator=generator).tolist()
        images, masks, probes, z, contrasts = zip(*(self._slab(index, generator) for index in chosen), strict=True)
        deep = self._view.thickness
        shown = torch.cat([torch.cat(images), torch.cat(masks)], 1)
        grid = random_grid(count, tuple(shown.shape[2:]), generator, strength=_DEFORMED).repeat_interleave(deep, 0)
        pairs = warp(shown, grid)
        degraded = degrade(pairs[:, :1], generator, per_scan=deep, strength=_DEGRADED)
        brain, probe = pairs[:, 1:] > 0.5, torch.stack(probes).repeat_interleave(deep, 0)
        made = gamma(normalized(degraded, probe), generator, per_scan=deep).clamp(min=1e-3) * brain
        return Slabs.of(made, brain, z, contrasts, self._view)

    def _slab(
        self, index: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int, str]:
        """Slices around a random place of a scan, as they are or, of a T1-weighted scan, as another contrast.

        Returns:
            Images, (D, 1, H, W); the share of brain, same shape; some voxels of the scan's brain, (voxels,); the place
            on the bundle's grid; and the contrast of images and voxels.
        """
        scan = self._scans[index]
        z = one_of(self._filled[index], generator)
        contrast = scan.contrast
        if scan.tissues and torch.rand(1, generator=generator) < _REMAP_SHARE:
            contrast = random_contrast(self._contrasts, generator)
        images, masks = (
            torch.from_numpy(around(values, z, self._view.reach)).unsqueeze(1).to(self._device)
            for values in (scan.volume, scan.mask)
        )
        images, probe = self.as_contrast(index, images, contrast, generator)
        return images, masks, probe, scan.first + z, contrast

    def volume(self, index: int, contrast: str, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A whole scan and its mask, each (z, 1, H, W), in its own shape; a T1 scan also as another contrast."""
        scan = self._scans[index]
        volume, mask = (
            torch.from_numpy(a.astype(np.float32)).unsqueeze(1).to(self._device) for a in (scan.volume, scan.mask)
        )
        images, probe = self.as_contrast(index, volume, contrast, generator)
        return normalized(images, probe.expand(len(images), -1)) * mask, mask > 0

    def as_contrast(
        self, index: int, images: torch.Tensor, contrast: str, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Slices (B, 1, H, W) of a scan and its probe (voxels,), as another contrast if that is not its own."""
        scan, probe = self._scans[index], self._probes[index]
        if contrast == scan.contrast or scan.tissues is None:
            return images, probe
        wanted = tissue_intensities(contrast, generator)[[_FLUID, _GRAY, _WHITE]]
        known, wanted = extended(torch.tensor(scan.tissues), wanted)
        flat = torch.cat([images.flatten(), probe]).view(1, 1, 1, -1)
        mapped = remap(flat, known[None].to(images), wanted[None].to(images)).flatten()
        return mapped[: images.numel()].view_as(images), mapped[images.numel() :]


def extended(known: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Continue an intensity curve through its points, (K,), to 0 and 1 at half the slope, so that texture survives."""
    slope = 0.5 * (wanted[1:] - wanted[:-1]) / (known[1:] - known[:-1]).clamp(min=1e-3)
    low, high = wanted[:1] - slope[:1] * known[:1], wanted[-1:] + slope[-1:] * (1 - known[-1:])
    return torch.cat([torch.zeros(1), known, torch.ones(1)]), torch.cat([low, wanted, high])
