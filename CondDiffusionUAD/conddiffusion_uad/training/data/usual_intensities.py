"""Intensities that scanners make: tissues as bright beside each other as on real scans.

A training exceeds that for the sake of variety in a share of its scans, see :mod:`signal_equations`. The ranges here
were measured on 28 real T1, 7 T2 and 7 FLAIR scans of whole brains, in the middle of tissues: where seven of ten label
maps agree on the tissue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from conddiffusion_uad.training.data import signal_equations
from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.signal_equations import Palette

# Of the cortex above ventricles, as a share of that of white matter.
_CORTEX = {"T1": (0.35, 0.8), "T2": (0.3, 0.95), "FLAIR": (0.95, 1.5)}
# Of other solid tissues: on T1 and T2, where cortex is 0 and white matter is 1.
_FROM_CORTEX_TO_WHITE: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "T1": {
        "cerebellar white matter": (0.75, 1.1), "cerebellar cortex": (-0.05, 0.45), "thalamus": (0.5, 1.05),
        "caudate": (0.15, 0.7), "putamen": (0.4, 0.8), "pallidum": (0.65, 1.1), "brainstem": (0.6, 1.0),
        "hippocampus": (-0.05, 0.35),
    },
    "T2": {
        "cerebellar white matter": (0.8, 1.3), "cerebellar cortex": (0.0, 0.4), "thalamus": (0.65, 1.05),
        "caudate": (-0.15, 0.7), "putamen": (0.4, 0.9), "pallidum": (0.9, 2.6), "brainstem": (0.5, 0.9),
        "hippocampus": (-0.75, 0.0),
    },
}  # fmt: skip
# On FLAIR, where cortex and white matter are much alike: above one of them, as a share of white matter above fluid.
_ABOVE: Mapping[str, tuple[str, float, float]] = {
    "cerebellar white matter": ("white matter", -0.15, 0.05), "cerebellar cortex": ("cortex", -0.12, 0.02),
    "thalamus": ("white matter", -0.07, 0.17), "caudate": ("cortex", -0.1, 0.12), "putamen": ("cortex", -0.13, 0.0),
    "pallidum": ("white matter", -0.5, -0.05), "brainstem": ("white matter", -0.05, 0.13),
    "hippocampus": ("cortex", 0.08, 0.25),
}  # fmt: skip
_ALIKE = 0.25  # share of a range by which the tissues of one scan differ in where they are within theirs
_TRIES = 1000


def draw(contrast: str, rng: np.random.Generator) -> Palette:
    """Intensities of a scan of a contrast as scanners make them.

    Those of deep tissue go together: more of the field or more iron changes all of them.

    Raises:
        ValueError: None are found, which does not happen for "T1", "T2" and "FLAIR".
    """
    for _ in range(_TRIES):
        palette = signal_equations.draw(contrast, rng)
        if usual(palette):
            return replace(palette, tissues=_placed(palette, rng))
    raise ValueError(f"no usual intensities of {contrast} in {_TRIES} draws")


def usual(palette: Palette) -> bool:
    """Whether the cortex is as bright beside fluid and white matter as on real scans."""
    low, high = _CORTEX[palette.contrast]
    return low <= (palette.gray - palette.fluid) / (palette.white - palette.fluid) <= high


def _placed(palette: Palette, rng: np.random.Generator) -> np.ndarray:
    """The intensities of TISSUES with those of solid ones within the ranges of real scans, float32."""
    tissues = dict(zip(TISSUES, palette.tissues, strict=True))
    common = rng.random()
    for name in _ABOVE:
        place = min(max(common + rng.uniform(-_ALIKE, _ALIKE), 0.0), 1.0)
        if palette.contrast == "FLAIR":
            beside, low, high = _ABOVE[name]
            start, unit = tissues[beside], palette.white - palette.fluid
        else:
            low, high = _FROM_CORTEX_TO_WHITE[palette.contrast][name]
            start, unit = palette.gray, palette.white - palette.gray
        tissues[name] = start + unit * (low + (high - low) * place)
    return np.array(list(tissues.values()), np.float32)
