"""Slabs of healthy volumes in [0, 1], drawn and augmented from the corpus without end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from conddiffusion_uad.model.slices import UNKNOWN
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.corpus import Anatomy, Part, Scan
from conddiffusion_uad.training.data.slabs import Slabs, View
from conddiffusion_uad.training.data.synthesis import (
    RANDOM,
    degrade,
    gamma,
    ghosted,
    random_grid,
    remap,
    render,
    tissue_intensities,
    uniform,
    warp,
)

# Shares and ranges that are set by hand for this project; nothing published stands behind them.
_PROBE = 4096  # voxels of a volume that its percentiles are estimated from
_RANDOM_SHARE = 0.1  # of synthetic scans with a contrast of their own, so that no contrast is learned by heart
_REMAP_SHARE = 0.65  # of T1 scans that become another contrast: few real scans have another one
_OUTLINE = (0.2, 0.8)  # share of brain in a voxel from which it belongs to the mask
_SLICES_AVERAGED = (1, 3)  # thinnest and thickest slice of a synthetic scan, in slices of the grid
_SYNTHETIC_GAMMA = 0.15  # largest logarithm of the exponent; the intensities of tissues are random already
_REAL = 0.7, 0.4  # strength of deformation and degradation of real scans, which vary by themselves
_FLUID, _GRAY, _WHITE = (list(TISSUES).index(name) for name in ("ventricles", "cortex", "white matter"))


class AnatomySampler:
    """Synthetic scans from label maps.

    Args:
        anatomies: They stay where they are, mapped from disk; what is drawn goes to the device.
        device: Where images are made.
        view: What is looked at.
        contrasts: Of the scans.
        ghosting: Share of the scans with ghosts.
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
        z, y, x = inside[rng.integers(len(inside), size=_PROBE)].T
        return torch.from_numpy(fractions[:-1, z, y, x].T.astype(np.float32) / 255)

    def draw(self, count: int, generator: torch.Generator) -> Slabs:
        """Random places in random scans of random contrast."""
        subjects = torch.randint(len(self._fractions), (count,), generator=generator).tolist()
        thinnest, thickest = _SLICES_AVERAGED
        thickness = torch.randint(thinnest, thickest + 1, (count,), generator=generator).tolist()
        z = [_one_of(self._filled[subject], generator) for subject in subjects]
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
        return slabs(images, images > 0, z, contrasts, self._view)

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
        generator: Source of randomness.
        per_scan: How many slices in a row are of one scan, and share what is random but noise.
        ghosting: Share of the scans with ghosts.

    Returns:
        (B, 1, H, W).
    """
    tissue, brain = fractions[:, :-1], fractions[:, -1:]
    images = render(tissue, intensities, generator, per_scan=per_scan)
    images = ghosted(degrade(images, generator, per_scan=per_scan), ghosting, generator, per_scan=per_scan)
    scans = len(images) // per_scan
    edge = uniform((scans, 1, 1, 1), *_OUTLINE, generator).to(images).repeat_interleave(per_scan, 0)
    probe = (probes * intensities.to(probes)[:, None, :]).sum(2)
    images = gamma(normalized(images, probe), generator, _SYNTHETIC_GAMMA, per_scan=per_scan)
    return images.clamp(min=1e-3) * (brain > edge)


class _Drawn(NamedTuple):
    """Slices around a place of a scan.

    Attributes:
        images: (D, 1, H, W).
        masks: Share of brain, same shape.
        probe: Some voxels of the scan's brain, (voxels,).
        z: The place on the bundle's grid.
        contrast: Of the images and the probe.
    """

    images: torch.Tensor
    masks: torch.Tensor
    probe: torch.Tensor
    z: int
    contrast: str


class ScanSampler:
    """Real scans; T1-weighted ones with known tissue intensities also as others of the given contrasts.

    Args:
        scans: They stay where they are, mapped from disk; what is drawn goes to the device.
        device: Where images are made.
        view: What is looked at.
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
            torch.from_numpy(rng.choice(s.volume[s.mask], _PROBE).astype(np.float32)).to(device) for s in scans
        ]

    def draw(self, count: int, generator: torch.Generator) -> Slabs:
        """Random places in random scans, as another contrast now and then, deformed and degraded."""
        chosen = torch.randint(len(self._scans), (count,), generator=generator).tolist()
        drawn = [self._slab(index, generator) for index in chosen]
        images, masks = torch.cat([slab.images for slab in drawn]), torch.cat([slab.masks for slab in drawn])
        deep = self._view.thickness
        grid = random_grid(count, tuple(images.shape[2:]), generator, strength=_REAL[0]).repeat_interleave(deep, 0)
        pairs = warp(torch.cat([images, masks], 1), grid)
        degraded = degrade(pairs[:, :1], generator, per_scan=deep, strength=_REAL[1])
        probes = torch.stack([slab.probe for slab in drawn]).repeat_interleave(deep, 0)
        brain = pairs[:, 1:] > 0.5
        images = gamma(normalized(degraded, probes), generator, per_scan=deep).clamp(min=1e-3) * brain
        return slabs(images, brain, [slab.z for slab in drawn], [slab.contrast for slab in drawn], self._view)

    def _slab(self, index: int, generator: torch.Generator) -> _Drawn:
        """Slices around a random place of a scan, as they are or, of a T1-weighted scan, as another contrast."""
        scan = self._scans[index]
        z = _one_of(self._filled[index], generator)
        contrast = scan.contrast
        if scan.tissues and torch.rand(1, generator=generator) < _REMAP_SHARE:
            contrast = random_contrast(self._contrasts, generator)
        images, masks = (
            torch.from_numpy(around(values, z, self._view.reach)).unsqueeze(1).to(self._device)
            for values in (scan.volume, scan.mask)
        )
        images, probe = self.as_contrast(index, images, contrast, generator)
        return _Drawn(images, masks, probe, scan.first + z, contrast)

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


class BatchSampler:
    """Batches mixed from the parts of a corpus according to the weights of their sources.

    Args:
        corpus: What is drawn from; sources without weight are not.
        device: Where images are made.
        view: What is looked at.
        contrasts: What label maps, and T1 scans, are turned into.
        ghosting: Share of the scans from label maps with ghosts.
    """

    def __init__(
        self,
        corpus: Sequence[Part],
        device: torch.device,
        view: View,
        contrasts: Sequence[str] = CONTRASTS,
        ghosting: float = 0.0,
    ) -> None:
        corpus = [part for part in corpus if part.source.weight]
        self._weights = torch.tensor([part.source.weight for part in corpus])
        self._samplers = [
            AnatomySampler(part.fit, device, view, contrasts, ghosting)
            if part.source.kind == "labels"
            else ScanSampler(part.fit, device, view, contrasts)
            for part in corpus
        ]

    def draw(self, count: int, generator: torch.Generator) -> Slabs:
        """A batch of slabs."""
        chosen = torch.multinomial(self._weights, count, replacement=True, generator=generator)
        counts = torch.bincount(chosen, minlength=len(self._samplers)).tolist()
        return Slabs.cat([s.draw(n, generator) for s, n in zip(self._samplers, counts, strict=True) if n])


def slabs(images: torch.Tensor, brain: torch.Tensor, z: Sequence[int], contrasts: Sequence[str], view: View) -> Slabs:
    """Slabs from their slices in a row, (B * D, 1, H, W), and a place and a contrast for each."""
    shape = (len(z), view.thickness, *images.shape[2:])
    known = [CONTRASTS.index(name) if name in CONTRASTS else UNKNOWN for name in contrasts]
    return Slabs(images.view(shape), brain.view(shape), torch.tensor(z), torch.tensor(known), view)


def around(values: np.ndarray, z: int, reach: int) -> np.ndarray:
    """Slices ``z - reach`` to ``z + reach`` of a volume (z, y, x), float32; empty beyond the volume."""
    result = np.zeros((2 * reach + 1, *values.shape[1:]), np.float32)
    low, high = max(z - reach, 0), min(z + reach + 1, len(values))
    result[low - z + reach : high - z + reach] = values[low:high]
    return result


def normalized(images: torch.Tensor, probe: torch.Tensor) -> torch.Tensor:
    """Bring the 1st and 99th percentile of the probe, (B, voxels), to 0 and 1 in the images, (B, 1, H, W), and clip."""
    percentiles = torch.quantile(probe.float(), torch.tensor([0.01, 0.99], device=probe.device), dim=1)
    low, high = percentiles[:, :, None, None, None]
    return ((images - low) / (high - low).clamp(min=1e-3)).clamp(0, 1)


def extended(known: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Continue an intensity curve through its points, (K,), to 0 and 1 at half the slope, so that texture survives."""
    slope = 0.5 * (wanted[1:] - wanted[:-1]) / (known[1:] - known[:-1]).clamp(min=1e-3)
    low, high = wanted[:1] - slope[:1] * known[:1], wanted[-1:] + slope[-1:] * (1 - known[-1:])
    return torch.cat([torch.zeros(1), known, torch.ones(1)]), torch.cat([low, wanted, high])


def random_contrast(contrasts: Sequence[str], generator: torch.Generator) -> str:
    """One of the contrasts, or now and then one of its own."""
    if torch.rand(1, generator=generator) < _RANDOM_SHARE:
        return RANDOM
    return contrasts[int(torch.randint(len(contrasts), (1,), generator=generator))]


def _one_of(values: np.ndarray, generator: torch.Generator) -> int:
    return int(values[int(torch.randint(len(values), (1,), generator=generator))])
