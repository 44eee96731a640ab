"""Whole healthy scans that lesions of the second generator are put into, before they are normalized."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from scipy import ndimage
from second_opinion import Implanted, implant

from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.training.data import healthy_bank
from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.folia import Folia
from conddiffusion_uad.training.data.healthy_bank import LABELS
from conddiffusion_uad.training.data.healthy_sources import LabelSource, ScanSource
from conddiffusion_uad.training.data.lattice import Lattice
from conddiffusion_uad.training.data.signal_equations import Palette
from conddiffusion_uad.training.data.synthesis import INTENSITIES
from conddiffusion_uad.training.learned_map.scans import axis

SPACING = (2.0, 1.0, 1.0)
"""Of the fine grid along z, y, x, mm."""

SEED = 20
_FLUID = ("ventricles", "subarachnoid fluid", "choroid plexus")
_LIMITS = (0.05, 99.95)  # percentiles that become 0 and 1: wide, since lesions are put in before normalization


@dataclass(frozen=True)
class Host:
    """A healthy scan before normalization, on the fine grid.

    Attributes:
        contrast: Its own.
        image: Intensities, float32 (z, y, x).
        mask: Brain, boolean.
        solid: Gray and white matter, boolean.
        noise: What is added after the lesions, float32 (z, y, x) or 0.
    """

    contrast: str
    image: np.ndarray
    mask: np.ndarray
    solid: np.ndarray
    noise: np.ndarray | float = 0.0

    def normalized(self, image: np.ndarray | None = None) -> np.ndarray:
        """The host's image, or another one of it, as a detection normalizes it, 0 to 1."""
        return normalized((self.image if image is None else image) + self.noise, self.mask)

    def implanted(self, sizes: Sequence[tuple[float, float]], seed: int, apart_mm: float = 0.0) -> Implanted:
        """With lesions that are dark on T1 and else bright, not normalized; see :func:`second_opinion.implant`."""
        sign = -1 if self.contrast == "T1" else 1
        return implant(self.image, self.solid, SPACING, sign, sizes, seed, apart_mm)


def normalized(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Intensities from the brain's 1st to its 99th percentile as 0 to 1, float32; 0 outside."""
    low, high = np.percentile(image[mask], [1, 99])
    return np.where(mask, np.clip((image - low) / (high - low), 0, 1), 0).astype(np.float32)


def real(scan: Path) -> Host:
    """A T1-weighted scan."""
    image, mask, _ = healthy_bank.fine_volume(volumes.read(scan), _LIMITS)
    smooth = ndimage.gaussian_filter(image, (0, 1, 1))
    return Host("T1", image, mask, mask & (smooth > 0.45 * np.median(smooth[mask])))


def remapped(scan: Path, contrast: str, number: int) -> Host:
    """A T1-weighted scan with the intensities of its tissues brought to those of another contrast.

    Args:
        number: Of the random intensities.
    """
    inputs = healthy_bank.scan("T1", scan)
    source = ScanSource(inputs, contrast, np.random.default_rng([SEED, number]))
    image = source.sample(Lattice(axis(2), axis(1), axis(0)).points()).image.numpy()
    return Host(contrast, image, inputs.tissue > 0, inputs.tissue > healthy_bank.FLUID)


def rendered(file: Path, contrast: str) -> Host:
    """A held-out label map in the middle of the range of each tissue, with folia, texture, blur and noise."""
    rng = np.random.default_rng(SEED)
    inputs = healthy_bank.labels(file)
    classes = inputs.image
    source = LabelSource(inputs, _middle(contrast), replace(Folia.draw(rng), period=4.5, fluid=0.4, white=0.4))
    axes = (first + np.arange(size) for first, size in zip(LABELS.origin, LABELS.size, strict=True))
    x, y, z = (torch.from_numpy(each.astype(np.float32)) for each in axes)
    image = ndimage.gaussian_filter(source.sample(Lattice(z, y, x).points()).image.numpy(), (1.0, 0.7, 0.7))
    weight = ndimage.gaussian_filter((classes > 0).astype(np.float32), (1.0, 0.7, 0.7))
    image = image / np.maximum(weight, 0.3)
    for sigma, strength in ((12.0, 0.04), (1.5, 0.03)):
        field = ndimage.gaussian_filter(rng.standard_normal(image.shape).astype(np.float32), sigma)
        image = image * (1 + strength * field / field.std())
    image, share = (a.reshape(80, 2, 192, 160).mean(1) for a in (image, (classes > 0).astype(np.float32)))
    mask = share > 0.5
    solid = mask & ~np.isin(classes[::2], [1 + list(TISSUES).index(name) for name in _FLUID])
    return Host(contrast, image, mask, solid, 0.02 * rng.standard_normal(image.shape).astype(np.float32))


def _middle(contrast: str) -> Palette:
    """Each tissue in the middle of its range in ``INTENSITIES``."""
    means = {name: float(np.mean(INTENSITIES[contrast][name])) for name in TISSUES}
    fluid, gray, white = (means[name] for name in ("ventricles", "cortex", "white matter"))
    return Palette(contrast, np.array(list(means.values()), np.float32), fluid, gray, white)


def seed_of(name: str) -> int:
    """A number of a host that stays the same whatever other hosts there are."""
    return crc32(name.encode()) % 10_000


def further(data: Path) -> Iterator[tuple[str, Callable[[], Host]]]:
    """More hosts than a training is judged with, by name: what makes each.

    Neither the map of the bundle `learned` nor its calibration has seen the T1-weighted ones, of which only the mean
    brightness of tissues was measured, for label maps; the calibration knows the others without lesions. 1025 is no
    further one: it shows the person of 1005.
    """
    for name in ("1000", "1001", "1002", "1006"):
        yield f"{name}_T1", partial(real, data / "train" / "oasis_t1" / f"{name}_t1.nii.gz")
    for contrast, known in (("T2", ("18", "20")), ("FLAIR", ("19",))):
        for name, file in held_out_labels(data).items():
            if name not in known:
                yield f"labels_{name}_{contrast}", partial(rendered, file, contrast)
        for number, (name, scan) in enumerate(held_out_scans(data).items()):
            yield f"{name}_as_{contrast}", partial(remapped, scan, contrast, number)


def held_out_labels(data: Path) -> dict[str, Path]:
    """Label maps that nothing was trained on, by the names of their brains."""
    train = data / "train"
    found = {k: train / "labels_synthseg" / f"training_seg_{k}.nii.gz" for k in ("18", "19", "20")}
    return found | {"b5": train / "labels_synthsr" / "brain5_labels.nii.gz"}


def held_out_scans(data: Path) -> dict[str, Path]:
    """Scans of T1 that nothing was trained on and whose license a bundle carries, by the names of their brains."""
    return {f"IXI{k}": next((data / "train" / "ixi_t1_2mm").glob(f"IXI{k}*")) for k in ("048", "049")}
