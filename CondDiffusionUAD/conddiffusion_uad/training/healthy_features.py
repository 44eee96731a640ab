"""What the encoder's features of healthy scans are like, for the input gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.bundle.healthy_features import HealthyFeatures, slice_features
from conddiffusion_uad.training.calibration import healthy_volumes
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
    """Features (slices, features) of each volume of a part; of an archive of slices, of all of them together."""
    spacing = bundle.config.grid.spacing
    single = part.source.kind == "slices"
    found = []
    for _, volume, mask in healthy_volumes(part, contrast, seed, fitted=fitted):
        shown = slice(0, 1) if single else slice(None)  # the stack of a single slice repeats it
        found.append(slice_features(volume[shown], mask[shown], spacing, bundle.model))
    found = [scan for scan in found if len(scan)]
    yield from [np.concatenate(found)] if single and found else found
