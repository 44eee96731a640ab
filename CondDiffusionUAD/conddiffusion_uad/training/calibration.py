"""Calibration: how large residuals get in healthy scans that the model has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.bundle.calibration import Calibration
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.run import score
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data.corpus import Part
from conddiffusion_uad.training.data.sampling import AnatomySampler, ScanSampler

THICK = 3  # slices of the bundle's grid that a single slice stands for
Log = Callable[[str], None]


def healthy_volumes(
    part: Part, contrast: str, seed: int, *, fitted: bool = False
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, volume and mask (z, y, x) of all that a part can show of a contrast in the data it holds out.

    With ``fitted`` it is the data that was learned from. A single slice becomes a stack of :data:`THICK` equal ones: so
    a thick slice looks on the bundle's grid.
    """
    generator = torch.Generator().manual_seed(seed)
    cpu = torch.device("cpu")
    items = part.fit if fitted else part.held_out
    sampler = (AnatomySampler if part.source.kind == "labels" else ScanSampler)(items, cpu)
    for index, item in enumerate(items):
        if part.source.kind == "labels" or item.contrast == contrast or item.tissues:
            volume, mask = (array[:, 0].numpy() for array in sampler.volume(index, contrast, generator))
            copies = THICK if part.source.kind == "slices" else 1
            yield item.name, volume.repeat(copies, 0), mask.repeat(copies, 0)


def calibrate(bundle: Bundle, corpus: Sequence[Part], seed: int, log: Log) -> Mapping[str, Calibration]:
    """Measure the residuals of the held-out healthy scans, for each contrast of the bundle.

    Residuals are formed as in a detection, by the bundle's method.

    Raises:
        BadInput: ``no_healthy_scan`` when no held-out scan can show a contrast.
    """
    result = {}
    for contrast in bundle.config.contrasts:
        groups = [group for part in corpus for group in _groups(bundle, part, contrast, seed)]
        if not groups:
            raise BadInput("no_healthy_scan", f"No held-out scan can show {contrast}.", "Add a source to the recipe.")
        result[contrast] = measured = Calibration.measure(groups)
        limit = np.interp(2, measured.scores, measured.residuals)
        log(f"{contrast}: 1 in 100 voxels of {measured.scans} healthy scans exceeds {limit:.3f}")
    return result


def _groups(bundle: Bundle, part: Part, contrast: str, seed: int) -> list[list[np.ndarray]]:
    """Residuals of what a part holds out: of each volume by itself, of the slices of an archive together.

    A volume shows a brain as a detection does; a single slice shows too little of one to stand for it.
    """
    residuals = [
        _residuals(bundle, volume, mask, contrast, seed) for _, volume, mask in healthy_volumes(part, contrast, seed)
    ]
    if part.source.kind == "slices":
        return [residuals] if residuals else []
    return [[scan] for scan in residuals]


def _residuals(bundle: Bundle, volume: np.ndarray, mask: np.ndarray, contrast: str, seed: int) -> np.ndarray:
    scored = score(bundle, Volume(volume, mask), contrast, seed=seed)
    return scored.anomaly_map[scored.mask]
