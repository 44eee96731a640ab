"""Calibration: how large residuals get in healthy scans that the model has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from conddiffusion_uad.detection.reconstruction import reconstruct
from conddiffusion_uad.detection.scoring import Calibration, residual
from conddiffusion_uad.model.bundle import Bundle

from .corpus import Part
from .sampling import AnatomySampler, ScanSampler

Log = Callable[[str], None]


def healthy_volumes(part: Part, contrast: str, seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, volume and mask (z, y, x) of all that a part can show of a contrast in the data it holds out."""
    generator = torch.Generator().manual_seed(seed)
    cpu = torch.device("cpu")
    sampler = (AnatomySampler if part.source.kind == "labels" else ScanSampler)(part.held_out, cpu)
    for index, item in enumerate(part.held_out):
        if part.source.kind == "labels" or item.contrast == contrast or item.tissues:
            volume, mask = sampler.volume(index, contrast, generator)
            yield item.name, volume[:, 0].numpy(), mask[:, 0].numpy()


def calibrate(bundle: Bundle, corpus: Sequence[Part], seed: int, log: Log) -> Mapping[str, Calibration]:
    """Measure the residuals of the held-out healthy scans, for each contrast of the bundle.

    Residuals are formed exactly as in a detection, with the bundle's levels and residual rules.
    """
    result = {}
    for contrast in bundle.config.contrasts:
        healthy = [
            _residuals(bundle, volume, mask, contrast, seed)
            for part in corpus
            for _, volume, mask in healthy_volumes(part, contrast, seed)
        ]
        result[contrast] = measured = Calibration.measure(healthy)
        limit = np.interp(2, measured.scores, measured.residuals)
        log(f"{contrast}: 1 in 100 voxels of {len(healthy)} healthy scans exceeds {limit:.3f}")
    return result


def _residuals(bundle: Bundle, volume: np.ndarray, mask: np.ndarray, contrast: str, seed: int) -> np.ndarray:
    estimate = reconstruct(volume, mask, bundle.model, levels=bundle.config.levels, seed=seed)
    return residual(volume, estimate, mask, bundle.config.residual[contrast])[mask]
