"""Intensities that scanners make: solid tissues as bright beside each other as on real scans.

A training exceeds that for the sake of variety in a share of its scans, see :mod:`signal_equations`. The ranges are
those of 19 T1, 5 T2 and 5 FLAIR scans among the training data (ten of ``oasis_t1``, in whole ones of which false
findings are counted and lesions implanted, too; ``ixi_t1_2mm``, ``ms_mild_raw``), in the middle of tissues: where seven
of ten label maps agree on them. Those of T2 and FLAIR, of three people, are wider by .05 to .1. Choroid plexus and the
fluid of sulci are as drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from conddiffusion_uad.training.data import signal_equations
from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.signal_equations import Palette

CORTEX = {"T1": (0.3, 0.8), "T2": (0.3, 0.9), "FLAIR": (0.95, 1.55)}
"""Brightness of the cortex above ventricles, as a share of that of white matter."""

_GRAY_TO_WHITE = ("cortex", "white matter")
_TO_WHITE, _TO_GRAY = ("ventricles", "white matter"), ("ventricles", "cortex")
# Of each other solid tissue: from what to what its brightness is measured, least and most. On FLAIR cortex and white
# matter are too much alike to measure a way between them, and on T2 iron makes the pallidum darker than either.
PLACES: Mapping[str, Mapping[str, tuple[tuple[str, str], float, float]]] = {
    "T1": {
        "cerebellar white matter": (_GRAY_TO_WHITE, 0.75, 1.13), "cerebellar cortex": (_GRAY_TO_WHITE, -0.03, 0.48),
        "thalamus": (_GRAY_TO_WHITE, 0.5, 1.06), "caudate": (_GRAY_TO_WHITE, 0.17, 0.68),
        "putamen": (_GRAY_TO_WHITE, 0.37, 0.82), "pallidum": (_GRAY_TO_WHITE, 0.62, 1.13),
        "brainstem": (_GRAY_TO_WHITE, 0.61, 0.95), "hippocampus": (_GRAY_TO_WHITE, -0.03, 0.34),
    },
    "T2": {
        "cerebellar white matter": (_GRAY_TO_WHITE, 0.75, 1.05), "cerebellar cortex": (_GRAY_TO_WHITE, -0.05, 0.2),
        "thalamus": (_GRAY_TO_WHITE, 0.65, 1.05), "caudate": (_GRAY_TO_WHITE, -0.05, 0.25),
        "putamen": (_GRAY_TO_WHITE, 0.35, 0.65), "pallidum": (_TO_WHITE, 0.9, 1.2),
        "brainstem": (_GRAY_TO_WHITE, 0.65, 0.95), "hippocampus": (_GRAY_TO_WHITE, -0.35, 0.0),
    },
    "FLAIR": {
        "cerebellar white matter": (_TO_WHITE, 0.93, 1.1), "cerebellar cortex": (_TO_GRAY, 0.88, 1.0),
        "thalamus": (_TO_WHITE, 0.92, 1.2), "caudate": (_TO_GRAY, 0.98, 1.12), "putamen": (_TO_GRAY, 0.87, 1.02),
        "pallidum": (_TO_WHITE, 0.6, 0.98), "brainstem": (_TO_WHITE, 0.93, 1.17), "hippocampus": (_TO_GRAY, 1.05, 1.2),
    },
}  # fmt: skip
_APART = 0.2  # of a range: how far the tissues of a scan may lie from their common place within their ranges
_TRIES = 1000


def draw(contrast: str, rng: np.random.Generator) -> Palette:
    """Intensities of a scan of a contrast as scanners make them.

    Where its tissues lie within their ranges goes together: a scan whose thalamus is nearly as bright as white matter
    has a putamen that is brighter than usual, too.

    Raises:
        KeyError: It is none of "T1", "T2" and "FLAIR".
        ValueError: No draw has a usual cortex, which nobody has seen.
    """
    for _ in range(_TRIES):
        palette = signal_equations.draw(contrast, rng)
        if usual(palette):
            return replace(palette, tissues=_placed(palette, rng))
    raise ValueError(f"no usual intensities of {contrast} in {_TRIES} draws")


def usual(palette: Palette) -> bool:
    """Whether the cortex is as bright beside fluid and white matter as on real scans."""
    low, high = CORTEX[palette.contrast]
    return low <= (palette.gray - palette.fluid) / (palette.white - palette.fluid) <= high


def _placed(palette: Palette, rng: np.random.Generator) -> np.ndarray:
    """The intensities of TISSUES with those of solid ones within the ranges of real scans, float32."""
    tissues = dict(zip(TISSUES, palette.tissues, strict=True))
    common = rng.uniform(_APART, 1 - _APART)
    for name, ((start, end), low, high) in PLACES[palette.contrast].items():
        place = low + (high - low) * (common + rng.uniform(-_APART, _APART))
        tissues[name] = tissues[start] + place * (tissues[end] - tissues[start])
    return np.array(list(tissues.values()), np.float32)
