"""What healthy scans are measured for: how large anomaly maps get in unseen ones, and what their features are like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.bundle.healthy_features import HealthyFeatures, slice_features
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.calibration import Calibration
from conddiffusion_uad.method.run import score
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data.anatomy_sampler import AnatomySampler
from conddiffusion_uad.training.data.corpus import Anatomy, Part
from conddiffusion_uad.training.data.prepared import Scan
from conddiffusion_uad.training.data.scan_sampler import ScanSampler
from conddiffusion_uad.training.data.slabs import View

Log = Callable[[str], None]


@dataclass(frozen=True)
class Healthy:
    """A healthy brain of a corpus, as a detection would prepare it.

    Attributes:
        name: Of its file.
        brain: On the bundle's grid; of a thin volume only the slices that it covers.
        thin: Whether it covers too little of a brain to stand for one.
    """

    name: str
    brain: Volume
    thin: bool


def healthy_brains(part: Part, contrast: str, grid: Grid, seed: int, *, fitted: bool = False) -> Iterator[Healthy]:
    """All that a part can show of a contrast in the data that it holds out.

    Args:
        contrast: Wanted. Label maps can show each, and so can T1-weighted scans.
        fitted: Whether to show the data that was learned from instead.
    """
    generator = torch.Generator().manual_seed(seed)
    items = part.fit if fitted else part.held_out
    sampler = (AnatomySampler if part.source.kind == "labels" else ScanSampler)(items, torch.device("cpu"), View(grid))
    for index, item in enumerate(items):
        if not can_show(item, contrast):
            continue
        first, thin = (0, False) if isinstance(item, Anatomy) else (item.first, item.thin)
        volume, mask = (values[:, 0].numpy() for values in sampler.volume(index, contrast, generator))
        x, y, z = grid.origin
        there = replace(grid, size=(*grid.size[:2], len(volume)), origin=(x, y, z + first * grid.spacing[2]))
        yield Healthy(item.name, Volume(volume, mask, there), thin)


def can_show(item: Anatomy | Scan, contrast: str) -> bool:
    """Whether prepared data can show a contrast."""
    return isinstance(item, Anatomy) or item.contrast == contrast or bool(item.tissues)


def calibrate(bundle: Bundle, corpus: Sequence[Part], seed: int, log: Log) -> Mapping[str, Calibration]:
    """Measure the anomaly maps of the held-out healthy scans, for each contrast of the bundle.

    Maps are made as in a detection, by the bundle's method.

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
    """Values of the maps of what a part holds out: of each scan by itself, of all thin volumes together.

    A scan shows a brain as a detection does; a thin volume shows too little of one to stand for it.
    """
    whole, thin = [], []
    for healthy in healthy_brains(part, contrast, bundle.config.grid, seed):
        scored = score(bundle, healthy.brain, contrast, seed=seed)
        (thin if healthy.thin else whole).append(scored.anomaly_map[scored.mask])
    return [*([scan] for scan in whole), *([thin] if thin else [])]


def measure_features(bundle: Bundle, corpus: Sequence[Part], seed: int, log: Log) -> Mapping[str, HealthyFeatures]:
    """Measure the features of healthy scans of each contrast, fitted and held out; none for a model without encoder.

    A contrast that is shown by the data of one kind only is left out.
    """
    if not bundle.method.condition.features:
        return {}
    result = {}
    for contrast in bundle.config.contrasts:
        fitted, unseen = (
            [scan for part in corpus for scan in _features(bundle, part, contrast, seed, fitted)]
            for fitted in (True, False)
        )
        if unseen and sum(map(len, fitted)) > 1:
            result[contrast] = measured = HealthyFeatures.measure(fitted, unseen)
            log(f"{contrast}: features of {measured.scans} healthy scans; others are up to {measured.usual:.2f} away")
    return result


def _features(bundle: Bundle, part: Part, contrast: str, seed: int, fitted: bool) -> Iterator[np.ndarray]:
    """Features (slices, features) of each scan of a part, and of all its thin volumes together."""
    grid, thin = bundle.config.grid, []
    for healthy in healthy_brains(part, contrast, grid, seed, fitted=fitted):
        middle = len(healthy.brain.volume) // 2
        shown = slice(middle, middle + 1) if healthy.thin else slice(None)  # the slices of a thin volume are alike
        features = slice_features(healthy.brain.volume[shown], healthy.brain.mask[shown], grid.spacing, bundle.model)
        if len(features) and healthy.thin:
            thin.append(features)
        elif len(features):
            yield features
    if thin:
        yield np.concatenate(thin)
