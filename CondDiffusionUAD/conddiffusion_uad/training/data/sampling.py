"""Batches of healthy slices in [0, 1], drawn and augmented from the corpus without end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.corpus import Anatomy, Part, Scan
from conddiffusion_uad.training.data.synthesis import (
    CONTRASTS,
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

_PROBE = 4096  # voxels of a volume that its percentiles are estimated from
_RANDOM_SHARE = 0.1  # of synthetic scans with a contrast of their own
_REMAP_SHARE = 0.65  # of T1 scans that become another contrast
_OUTLINE = (0.2, 0.8)  # share of brain in a voxel from which it belongs to the mask
_SLICES_AVERAGED = (1, 3)  # thinnest and thickest slice of a synthetic scan, in slices of the grid
_FLUID, _GRAY, _WHITE = (list(TISSUES).index(name) for name in ("ventricles", "cortex", "white matter"))


def normalized(images: torch.Tensor, probe: torch.Tensor) -> torch.Tensor:
    """Bring the 1st and 99th percentile of the probe, (B, voxels), to 0 and 1 in the images, (B, 1, H, W), and clip."""
    limits = torch.quantile(probe.float(), torch.tensor([0.01, 0.99], device=probe.device), dim=1)[
        :, :, None, None, None
    ]
    return ((images - limits[0]) / (limits[1] - limits[0]).clamp(min=1e-3)).clamp(0, 1)


def extended(known: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Continue an intensity curve through its points, (K,), to 0 and 1 at half the slope, so that texture survives."""
    slope = 0.5 * (wanted[1:] - wanted[:-1]) / (known[1:] - known[:-1]).clamp(min=1e-3)
    low, high = wanted[:1] - slope[:1] * known[:1], wanted[-1:] + slope[-1:] * (1 - known[-1:])
    return torch.cat([torch.zeros(1), known, torch.ones(1)]), torch.cat([low, wanted, high])


class AnatomySampler:
    """Synthetic slices from label maps, of the given contrasts, a share of them with ghosts."""

    def __init__(
        self,
        anatomies: Sequence[Anatomy],
        device: torch.device,
        contrasts: Sequence[str] = CONTRASTS,
        ghosting: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._contrasts, self._ghosting = contrasts, ghosting
        rng = np.random.default_rng(seed)
        self._device = device  # anatomies stay where they are, mapped from disk; what is drawn goes there
        self._fractions = [torch.from_numpy(a.fractions) for a in anatomies]
        self._filled = [np.flatnonzero(a.fractions[-1].any(axis=(1, 2))) for a in anatomies]
        self._probes = [self._probe(a.fractions, rng).to(device) for a in anatomies]

    @staticmethod
    def _probe(fractions: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        inside = np.argwhere(fractions[-1] > 127)
        z, y, x = inside[rng.integers(len(inside), size=_PROBE)].T
        return torch.from_numpy(fractions[:-1, z, y, x].T.astype(np.float32) / 255)

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Random slices of random scans of random contrast, (count, 1, H, W)."""
        subjects = torch.randint(len(self._fractions), (count,), generator=generator).tolist()
        thickness = torch.randint(_SLICES_AVERAGED[0], _SLICES_AVERAGED[1] + 1, (count,), generator=generator).tolist()
        fractions = torch.stack([self._slab(s, t, generator) for s, t in zip(subjects, thickness, strict=True)])
        contrasts = [random_contrast(self._contrasts, generator) for _ in subjects]
        intensities = torch.stack([tissue_intensities(contrast, generator) for contrast in contrasts])
        grid = random_grid(count, tuple(fractions.shape[2:]), generator)
        probes = torch.stack([self._probes[s] for s in subjects])
        return synthesize(warp(fractions, grid), intensities, probes, generator, ghosting=self._ghosting)

    def _slab(self, subject: int, thickness: int, generator: torch.Generator) -> torch.Tensor:
        filled = self._filled[subject]
        z = int(filled[int(torch.randint(len(filled), (1,), generator=generator))])
        low = max(0, z - (thickness - 1) // 2)
        return self._fractions[subject][:, low : low + thickness].to(self._device).float().mean(1) / 255

    def volume(self, subject: int, contrast: str, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A whole synthetic scan and its mask, each (z, 1, H, W), of a subject in its own shape."""
        fractions = self._fractions[subject].to(self._device).permute(1, 0, 2, 3).float() / 255
        intensities = tissue_intensities(contrast, generator).expand(len(fractions), -1)
        probes = self._probes[subject].expand(len(fractions), -1, -1)
        images = synthesize(fractions, intensities, probes, generator, one_scan=True)
        return images, images > 0


def synthesize(
    fractions: torch.Tensor,
    intensities: torch.Tensor,
    probes: torch.Tensor,
    generator: torch.Generator,
    *,
    one_scan: bool = False,
    ghosting: float = 0.0,
) -> torch.Tensor:
    """Normalized slices, 0 outside the brain, whose outline varies as that of skull strippers does.

    Args:
        fractions: (B, tissues + 1, H, W), see :class:`Anatomy`, each between 0 and 1.
        intensities: Mean of each tissue, (B, tissues).
        probes: Fractions of voxels of the whole brain, (B, voxels, tissues).
        generator: Source of randomness.
        one_scan: Whether the batch is the slices of one scan, which share what is random but noise.
        ghosting: Share of the slices with ghosts.
    """
    tissue, brain = fractions[:, :-1], fractions[:, -1:]
    images = render(tissue, intensities, generator, one_scan=one_scan)
    images = ghosted(degrade(images, generator, one_scan=one_scan), ghosting, generator)
    draws = 1 if one_scan else len(images)
    edge = uniform((draws, 1, 1, 1), *_OUTLINE, generator).to(images)
    probe = (probes * intensities.to(probes)[:, None, :]).sum(2)
    images = gamma(normalized(images, probe), generator, 0.15, one_scan=one_scan)
    return images.clamp(min=1e-3) * (brain > edge)


class ScanSampler:
    """Slices of real scans; T1 scans with known tissue intensities also as other ones of the given contrasts."""

    def __init__(
        self, scans: Sequence[Scan], device: torch.device, contrasts: Sequence[str] = CONTRASTS, seed: int = 0
    ) -> None:
        self._contrasts = contrasts
        rng = np.random.default_rng(seed)
        self._scans = scans
        self._device = device  # scans stay where they are, mapped from disk; what is drawn goes there
        self._filled = [np.flatnonzero(s.mask.any(axis=(1, 2))) for s in scans]
        self._probes = [
            torch.from_numpy(rng.choice(s.volume[s.mask], _PROBE).astype(np.float32)).to(device) for s in scans
        ]

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Random slices of random scans, (count, 1, H, W)."""
        chosen = torch.randint(len(self._scans), (count,), generator=generator).tolist()
        images, probes = [], []
        for index in chosen:
            filled = self._filled[index]
            z = int(filled[int(torch.randint(len(filled), (1,), generator=generator))])
            contrast = self._scans[index].contrast
            if self._scans[index].tissues and torch.rand(1, generator=generator) < _REMAP_SHARE:
                contrast = random_contrast(self._contrasts, generator)
            pair = torch.stack(self._arrays(index, z))
            image, probe = self.as_contrast(index, pair[:1, None], contrast, generator)
            images.append(torch.cat([image[0], pair[1:]]))
            probes.append(probe)
        pairs = torch.stack(images)
        pairs = warp(pairs, random_grid(count, tuple(pairs.shape[2:]), generator, strength=0.7))
        degraded = degrade(pairs[:, :1], generator, strength=0.4)
        return gamma(normalized(degraded, torch.stack(probes)), generator).clamp(min=1e-3) * (pairs[:, 1:] > 0.5)

    def volume(self, index: int, contrast: str, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A whole scan and its mask, each (z, 1, H, W), in its own shape; a T1 scan also as another contrast."""
        volume, mask = self._arrays(index)
        images, probe = self.as_contrast(index, volume.unsqueeze(1), contrast, generator)
        mask = mask.unsqueeze(1) > 0
        return normalized(images, probe.expand(len(images), -1)) * mask, mask

    def _arrays(self, index: int, where: int | slice = slice(None)) -> list[torch.Tensor]:
        """Volume and mask of a scan, or one slice of them, float32 on the device."""
        scan = self._scans[index]
        return [torch.from_numpy(a[where].astype(np.float32)).to(self._device) for a in (scan.volume, scan.mask)]

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


def random_contrast(contrasts: Sequence[str], generator: torch.Generator) -> str:
    """One of the contrasts, or now and then one of its own."""
    if torch.rand(1, generator=generator) < _RANDOM_SHARE:
        return RANDOM
    return contrasts[int(torch.randint(len(contrasts), (1,), generator=generator))]


class BatchSampler:
    """Batches mixed from the parts of a corpus according to the weights of their sources.

    Args:
        corpus: What is drawn from; sources without weight are not.
        device: Where the batches go.
        contrasts: What label maps, and T1 scans, are turned into.
        ghosting: Share of the slices from label maps with ghosts.
    """

    def __init__(
        self,
        corpus: Sequence[Part],
        device: torch.device,
        contrasts: Sequence[str] = CONTRASTS,
        ghosting: float = 0.0,
    ) -> None:
        corpus = [part for part in corpus if part.source.weight]
        self._weights = torch.tensor([part.source.weight for part in corpus])
        self._samplers = [
            AnatomySampler(part.fit, device, contrasts, ghosting)
            if part.source.kind == "labels"
            else ScanSampler(part.fit, device, contrasts)
            for part in corpus
        ]

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """A batch of slices (count, 1, H, W) in [0, 1], 0 outside the brain."""
        chosen = torch.multinomial(self._weights, count, replacement=True, generator=generator)
        counts = torch.bincount(chosen, minlength=len(self._samplers)).tolist()
        return torch.cat([s.draw(n, generator) for s, n in zip(self._samplers, counts, strict=True) if n])
