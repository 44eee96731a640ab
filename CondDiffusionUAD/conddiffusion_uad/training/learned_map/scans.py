"""One synthetic scan: healthy anatomy, anomalies, acquisition, normalization; a slab of it with its label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from conddiffusion_uad.method.anomaly_map.learned_inputs import NEIGHBORS, ranks
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data import signal_equations, usual_intensities
from conddiffusion_uad.training.data.acquisition import Acquisition
from conddiffusion_uad.training.data.folia import Folia
from conddiffusion_uad.training.data.geometry import Geometry, Push
from conddiffusion_uad.training.data.healthy_bank import FINE, Inputs
from conddiffusion_uad.training.data.healthy_sources import LabelSource, Sampled, ScanSource, textured
from conddiffusion_uad.training.data.lattice import Lattice, SmoothField, blurred
from conddiffusion_uad.training.synthetic_anomalies import draws, look_alikes
from conddiffusion_uad.training.synthetic_anomalies.anomaly import Anomaly
from conddiffusion_uad.training.synthetic_anomalies.place import Places
from conddiffusion_uad.training.synthetic_anomalies.shape import Blob

_THROUGH = 0.75  # share of scans with anomalies whose slab is laid through one of them
_EACH = 0.6  # of these, share in which each anomaly counts alike, so that small ones are seen beside large ones
_DOUBTFUL = 0.3  # of the distance fluid to gray above gray: a real FLAIR slice may have unmarked lesions there
_LEAST_COUNT, _PLAIN = 0.15, 0.4  # of a voxel that did not change, and the change that is plain to see
_USUAL = 0.6  # of label maps, share with intensities that scanners make
_FOLIA = 0.85  # of label maps, share with folia in the cerebellum
_LEAST_BRAIN = 10  # coarse voxels of a slice that is worth looking at: 1.6 cm2


@dataclass(frozen=True)
class Slab:
    """Neighboring slices of a synthetic scan, ready for the network.

    Attributes:
        volume: (Z, H, W), 0 to 1, 0 outside the brain; the first and last NEIGHBORS slices are only neighbors.
        rank: Of each intensity in its brain.
        mask: Brain, boolean.
        label: Anomaly, boolean.
        weight: How much each voxel counts: 0 where a real scan may be sick itself, little in an anomaly that is
            hardly to be seen, else 1.
        contrast: "T1", "T2", "FLAIR" or "random".
        heights: Of the slices, indices of FINE, on the CPU; None when unknown.
    """

    volume: torch.Tensor
    rank: torch.Tensor
    mask: torch.Tensor
    label: torch.Tensor
    weight: torch.Tensor
    contrast: str
    heights: torch.Tensor | None


def axis(index: int, step: int = 1) -> torch.Tensor:
    """Centers of every ``step``-th voxel of FINE along x (0), y (1) or z (2), mm."""
    first = FINE.origin[index] + FINE.spacing[index] * (step - 1) / 2
    return first + FINE.spacing[index] * torch.arange(0, FINE.size[index], step, dtype=torch.float32)


def synthesize(
    inputs: Inputs,
    contrast: str,
    shapes: draws.Shapes,
    rng: np.random.Generator,
    count: int,
    index: int = 0,
    device: torch.device | str = "cpu",
) -> Slab:
    """Make a slab of ``count`` slices (one for a single-slice source) and its neighbors.

    Args:
        contrast: Of the scan to be made; for a source of single slices its own.
        count: Slices that will be looked at.
        index: Which one of a source of single slices.
        device: That computes it; the draws are the same on all.
    """
    real, flat = inputs.kind != "labels", inputs.kind == "slices"
    source = ScanSource(inputs, contrast, rng, index) if real else _labels(inputs, contrast, rng)
    scan = Scan(source, real, rng)
    coarse = replace(_coarse(inputs, index), device=device)
    widened = look_alikes.widened(Places(scan.healthy(coarse, []).tissue, coarse), rng)
    probe = scan.healthy(coarse, widened)
    places = Places(probe.tissue, coarse)
    anomalies, pushes = draws.draw(source.palette, places, shapes, rng)
    look_alike = look_alikes.draw(source.palette, places, rng)
    image, found = scan.changed(probe, coarse, look_alike + anomalies)
    fine = coarse if flat else _slab(found, probe.brain, coarse, count, anomalies, rng)
    full = Lattice(fine.z, axis(1), axis(0), device)
    healthy = scan.healthy(full, pushes + widened)
    healthy = Sampled(look_alikes.rimmed(healthy.image, healthy, source.palette, rng), healthy.tissue, healthy.brain)
    made, label = scan.changed(healthy, full, look_alike + anomalies)
    visible = _visible((made - healthy.image).abs() / scan.spread)
    doubtful = _doubtful(healthy, source.palette) if flat and contrast == "FLAIR" else torch.zeros_like(label)
    volume, rank, mask, label = scan.finished(image, probe, coarse, made, label, healthy, full, rng)
    weight = torch.where(label, visible, 1 - doubtful)
    return _cut(Slab(volume, rank, mask, label, weight, contrast, _heights(inputs, fine)), flat)


class Scan:
    """What all parts of one scan share."""

    def __init__(self, source: LabelSource | ScanSource, real: bool, rng: np.random.Generator) -> None:
        self.source, self.palette = source, source.palette
        self.spread = max(abs(self.palette.white - self.palette.fluid), 0.05)
        self.geometry = Geometry.draw(rng)
        self.fields = SmoothField.draw(rng, 3, 8), SmoothField.draw(rng, 1, (30, 44, 36))
        slow = (0.02, 0.02, 0.02) if real else (0.12 * rng.random() ** 2, 0.06 * rng.random(), 0.06 * rng.random())
        self.strengths = (*slow, 0.0 if real else 0.04 * rng.random())
        self.acquisition = Acquisition.draw(rng, real=real)

    def healthy(self, lattice: Lattice, pushes: list[Push]) -> Sampled:
        """Healthy tissue with its texture."""
        points = lattice.halved_steps() if self.source.supersampled else lattice
        sampled = self.source.sample(self.geometry.sources(points, pushes))
        if self.source.supersampled:
            pairs = (values.view(len(lattice.z), 2, *values.shape[1:]) for values in (sampled.image, sampled.brain))
            image, brain = (pair.mean(1) for pair in pairs)
            sampled = Sampled(image / brain.clamp(min=0.5), sampled.tissue[::2], brain)
        return textured(sampled, self.fields, lattice, self.strengths, self.palette)

    def changed(
        self, healthy: Sampled, lattice: Lattice, anomalies: Sequence[Anomaly]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The image with look-alikes and anomalies, and the label."""
        image, label = healthy.image.clone(), torch.zeros_like(healthy.image)
        for anomaly in anomalies:
            anomaly.put(image, label, healthy, lattice, self.spread)
        return image, label

    def finished(self, image, probe: Sampled, coarse: Lattice, made, label, healthy: Sampled, full: Lattice, rng):
        """Volume, rank, mask and label of the fine lattice, normalized by what the coarse one holds."""
        taken = self.acquisition
        inside = taken.mask(probe.brain, coarse)
        noise = torch.from_numpy(rng.standard_normal(tuple(image.shape), np.float32)).to(image)
        rough = (taken.shade(image, coarse) + 0.7 * taken.noise * self.spread * noise)[inside]
        mask = taken.mask(healthy.brain, full)
        filled = self.filled(made, healthy.brain, mask, full)
        volume = taken.acquired(taken.shade(filled, full), full, self.spread, rng)
        matrices = taken.slices(full)
        if matrices is not None:
            label = torch.einsum("zk,kq,qyx->zyx", matrices[1], matrices[0], label)
        low, high = torch.quantile(rough, torch.tensor([0.01, 0.99], device=rough.device))
        span = (high - low).clamp(min=1e-3)
        volume = ((volume - low) / span).clamp(0, 1)
        rank = ranks(volume, ((rough - low) / span).clamp(0, 1)) * mask
        return volume**taken.gamma * mask, rank, mask, (label > 0.4) & mask

    def filled(self, image: torch.Tensor, brain: torch.Tensor, mask: torch.Tensor, lattice: Lattice) -> torch.Tensor:
        """The image continued beyond the brain: by what is nearest inside, or by a rind of another brightness."""
        weight = (brain > 0.3).to(image.dtype)
        around = blurred(image * weight, (0.0, 2.0, 2.0)) / blurred(weight, (0.0, 2.0, 2.0)).clamp(min=1e-3)
        if self.acquisition.rind is not None:
            field = 0.3 * self.acquisition.rim_field.on(lattice)[0]
            around = (self.acquisition.rind + field) * max(self.palette.gray, self.palette.white)
        return torch.where(brain > 0.3, image, around * mask)


def _labels(inputs: Inputs, contrast: str, rng: np.random.Generator) -> LabelSource:
    """A label map, in a share of scans with intensities that scanners make, and in a share with folia.

    Where any tissue may be as bright as any other, nobody learns that one is not.
    """
    usual = contrast in CONTRASTS and rng.random() < _USUAL
    palette = (usual_intensities if usual else signal_equations).draw(contrast, rng)
    return LabelSource(inputs, palette, Folia.draw(rng) if rng.random() < _FOLIA else None)


def _coarse(inputs: Inputs, index: int) -> Lattice:
    """What is known of the whole brain: every 4 mm, or of a single slice every 2 mm."""
    if inputs.kind != "slices":
        return Lattice(axis(2, 2), axis(1, 4), axis(0, 4))
    height = float(inputs.heights[index])
    return Lattice(torch.tensor([18.0 if np.isnan(height) else height]), axis(1, 2), axis(0, 2))


def _slab(
    label: torch.Tensor,
    brain: torch.Tensor,
    coarse: Lattice,
    count: int,
    anomalies: Sequence[Anomaly],
    rng: np.random.Generator,
) -> Lattice:
    """Slices of FINE around an anomaly, or anywhere in the brain."""
    sick = (label > 0.4).sum((1, 2)).cpu().numpy().astype(float)
    filled = (brain.sum((1, 2)) > _LEAST_BRAIN).cpu().numpy().astype(float)
    heights = [float(anomaly.shape.center[0]) for anomaly in anomalies if isinstance(anomaly.shape, Blob)]
    through = rng.random() < _THROUGH
    if heights and through and rng.random() < _EACH:
        middle = heights[rng.integers(len(heights))]
    else:
        weights = np.minimum(sick, 50) if sick.any() and through else filled
        weights = weights if weights.any() else np.ones(len(weights))
        middle = float(coarse.z[rng.choice(len(weights), p=weights / weights.sum())])
    total = count + 2 * NEIGHBORS
    first = round((middle - FINE.origin[2]) / FINE.spacing[2]) - int(rng.integers(NEIGHBORS, total - NEIGHBORS))
    first = min(max(first, 0), FINE.size[2] - total)
    z = FINE.origin[2] + FINE.spacing[2] * torch.arange(first, first + total, dtype=torch.float32)
    return replace(coarse, z=z)


def _visible(change: torch.Tensor) -> torch.Tensor:
    """How much a voxel of an anomaly counts by its change of intensity, in distances from white matter to fluid.

    Counting alike, the anomalies that nobody can see teach the network to suspect everything, and outweigh the others.
    """
    return _LEAST_COUNT + (1 - _LEAST_COUNT) * (change / _PLAIN).clamp(max=1).square()


def _heights(inputs: Inputs, fine: Lattice) -> torch.Tensor | None:
    if inputs.kind == "slices" and np.isnan(inputs.heights).all():
        return None
    return ((fine.z - FINE.origin[2]) / FINE.spacing[2]).round().long().clamp(0, FINE.size[2] - 1)


def _doubtful(healthy: Sampled, palette: signal_equations.Palette) -> torch.Tensor:
    bright = healthy.image > palette.gray + _DOUBTFUL * (palette.gray - palette.fluid)
    return blurred(bright.to(healthy.image.dtype), (0.0, 1.0, 1.0)).gt(0.2).to(healthy.image.dtype)


def _cut(slab: Slab, flat: bool) -> Slab:
    """A single slice repeated as its own neighbors, as a thick slice looks."""
    if not flat:
        return slab
    parts = (slab.volume, slab.rank, slab.mask, slab.label, slab.weight)
    many = (values.expand(2 * NEIGHBORS + 1, -1, -1) for values in parts)
    heights = None if slab.heights is None else slab.heights.expand(2 * NEIGHBORS + 1)
    return Slab(*many, slab.contrast, heights)
