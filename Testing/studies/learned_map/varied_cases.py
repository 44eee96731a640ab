"""Healthy scans as different as real ones, to count false findings in: held-out brains, each drawn several times.

A draw is the geometry, intensities and acquisition of a training's scans: deformed, shaded, noisy, in slices of up to
7 mm, with an imperfect brain mask, then prepared as in a detection; but without what training exaggerates: places as
before the registration, another gamma and intensities that no scanner makes. Nothing sick is put in, and nothing that
only looks so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import judge_cases as judged
import numpy as np
import SimpleITK as sitk
import torch
from hosts import held_out_labels, held_out_scans
from judge_cases import Case

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.preprocessing import bias, normalization
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data import healthy_bank, usual_intensities
from conddiffusion_uad.training.data.folia import Folia
from conddiffusion_uad.training.data.geometry import Geometry
from conddiffusion_uad.training.data.healthy_bank import Inputs
from conddiffusion_uad.training.data.healthy_sources import LabelSource, ScanSource
from conddiffusion_uad.training.data.lattice import Lattice
from conddiffusion_uad.training.learned_map.scans import Scan, axis

_SEED = 21
_VARIED = "varied_"
_WITHOUT_PLAIN = {("19", "T1")}
_TRIES = 1000


def load(data: Path, kept: Path, bundle: Bundle, contrast: str, of_each: int) -> list[tuple[str, Case]]:
    """Cases of a contrast by name, from a folder of kept ones or made now, without the bundle's own map.

    Args:
        of_each: Scans of each brain, with the plain one of the judgement where there is one.
    """
    return judged.kept_or_made(kept, recipes(data, bundle, contrast, of_each))


def brain_of(name: str) -> str:
    """Which held-out brain a healthy case of a bundle's calibration shows, plain or varied."""
    return name.removeprefix("healthy_").removeprefix(_VARIED).removeprefix("labels_").split("_")[0]


def is_varied(name: str) -> bool:
    """Whether a healthy case of a bundle's calibration is one of these."""
    return name.startswith(_VARIED)


def recipes(data: Path, bundle: Bundle, contrast: str, of_each: int) -> Iterator[tuple[str, Callable[[], Case]]]:
    """Names of cases of a contrast and what makes each; see :func:`load`."""
    brains = {name: partial(_labels, file) for name, file in held_out_labels(data).items()}
    brains |= {name: partial(_scan, file) for name, file in held_out_scans(data).items()}
    for number, (brain, prepared) in enumerate(brains.items()):
        for draw in range(of_each - ((brain, contrast) not in _WITHOUT_PLAIN)):
            rng = np.random.default_rng([_SEED, number, CONTRASTS.index(contrast), draw])
            yield f"{_VARIED}{brain}_{contrast}_{draw}", partial(_made, prepared, contrast, rng, bundle)


def _made(prepared: Callable[[], Inputs], contrast: str, rng: np.random.Generator, bundle: Bundle) -> Case:
    volume, mask = drawn(prepared(), contrast, rng)
    nothing = np.zeros(volume.shape, np.float16)
    samples = judged.samples_of(volume, mask, contrast, bundle)
    return Case("healthy", contrast, volume.astype(np.float16), mask, nothing.astype(np.int16), samples, nothing, False)


@cache
def _labels(file: Path) -> Inputs:
    return healthy_bank.labels(file)


@cache
def _scan(file: Path) -> Inputs:
    return healthy_bank.scan("T1", file)


def drawn(inputs: Inputs, contrast: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A whole scan as a detection prepares it: float32 volume, 0 to 1, and boolean mask, (z, y, x) of the fine grid."""
    scan = Scan(_source(inputs, contrast, rng), inputs.kind != "labels", rng)
    scan.geometry = _registered(scan.geometry)
    taken, full = scan.acquisition, Lattice(axis(2), axis(1), axis(0))
    healthy = scan.healthy(full, [])
    mask = taken.mask(healthy.brain, full)
    filled = scan.filled(healthy.image, healthy.brain, mask, full)
    made = taken.acquired(taken.shade(filled, full), full, scan.spread, rng) * mask
    brain, image = (_on_fine_grid(values.numpy()) for values in (mask.to(torch.uint8), made))
    corrected = bias.correct(image, brain, Quiet()).image
    volume = sitk.GetArrayFromImage(normalization.normalize(corrected, brain).image)
    return volume * mask.numpy(), mask.numpy()


def _on_fine_grid(values: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(healthy_bank.FINE.blank())
    return image


def _registered(geometry: Geometry) -> Geometry:
    """The same shape, but turned, scaled and shifted only half as far, so that the brain is within the grid."""
    mirrored = torch.diag(geometry.matrix.diagonal().sign())
    return replace(geometry, matrix=(geometry.matrix + mirrored) / 2, shift=geometry.shift / 2)


def _source(inputs: Inputs, contrast: str, rng: np.random.Generator) -> LabelSource | ScanSource:
    """The brain with intensities that scanners make; those of a scan of another contrast by its cortex alone."""
    if inputs.kind == "labels":
        return LabelSource(inputs, usual_intensities.draw(contrast, rng), Folia.draw(rng))
    for _ in range(_TRIES):
        source = ScanSource(inputs, contrast, rng)
        if inputs.contrast == contrast or usual_intensities.usual(source.palette):
            return source
    raise ValueError(f"no usual intensities of {contrast} in {_TRIES} draws")
