"""What the encoder's features of healthy scans are like, for the input gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.bundle.healthy_features import HealthyFeatures, slice_features
from conddiffusion_uad.training.calibration import healthy_brains
from conddiffusion_uad.training.data.corpus import Part

Log = Callable[[str], None]


def measure_features(bundle: Bundle, corpus: Sequence[Part], seed: int, log: Log) -> Mapping[str, HealthyFeatures]:
    """Measure the features of healthy scans of each contrast, fitted and held out; none for a model without encoder.

    A contrast that is shown by the data of one kind only is left out.
    """
    if not bundle.method.condition.features:
        return {}
    result = {}
    for contrast in bundle.config.contrasts:
        fitted, unseen = (
            [scan for part in corpus for scan in _scans(bundle, part, contrast, seed, fitted)]
            for fitted in (True, False)
        )
        if unseen and sum(map(len, fitted)) > 1:
            result[contrast] = measured = HealthyFeatures.measure(fitted, unseen)
            log(f"{contrast}: features of {measured.scans} healthy scans; others are up to {measured.usual:.2f} away")
    return result


def _scans(bundle: Bundle, part: Part, contrast: str, seed: int, fitted: bool) -> Iterator[np.ndarray]:
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
