"""Tissue intensities by contrast: drawn freely, or simulated from tissue constants and a random protocol.

Signals are the textbook ones of spin echo and inversion recovery, with proton density PD and relaxation times in ms:
    spin echo           PD (1 - exp(-TR/T1)) exp(-TE/T2)
    inversion recovery  PD |1 - 2 exp(-TI/T1) + exp(-TR/T1)| exp(-TE/T2)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.synthesis import INTENSITIES

# Usual ranges of PD, T1 and T2 from 1.5 to 3 tesla: (low, high) of each.
_WHITE = ((0.66, 0.74), (600, 950), (65, 82))
_GRAY = ((0.78, 0.88), (1000, 1550), (82, 105))
_FLUID = ((0.97, 1.0), (3750, 4100), (700, 2000))
CONSTANTS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "white matter": _WHITE, "cortex": _GRAY, "ventricles": _FLUID, "subarachnoid fluid": _FLUID,
    "cerebellar white matter": _WHITE, "cerebellar cortex": _GRAY, "thalamus": ((0.72, 0.82), (850, 1200), (70, 88)),
    "caudate": ((0.76, 0.85), (1000, 1400), (75, 92)), "putamen": ((0.75, 0.84), (950, 1300), (68, 86)),
    "pallidum": ((0.70, 0.80), (750, 1050), (50, 70)), "brainstem": ((0.70, 0.78), (700, 1000), (66, 84)),
    "hippocampus": _GRAY, "choroid plexus": ((0.85, 0.95), (1500, 2600), (120, 280)),
}  # fmt: skip
Signal = Callable[[tuple[float, ...]], float]  # of proton density, T1 and T2
_TRIES = 20
LESION = ((0.78, 1.0), (1050, 2600), (100, 320))  # longer T1 and T2 than tissue, shorter than fluid


@dataclass(frozen=True)
class Palette:
    """Intensities of one scan.

    Attributes:
        contrast: "T1", "T2", "FLAIR" or "random".
        tissues: Mean of each of TISSUES, float32 (tissues,).
        fluid, gray, white: Means that say what an anomaly may look like.
        lesion: Draws a lesion's intensity by signal equation; None where intensities are free.
    """

    contrast: str
    tissues: np.ndarray
    fluid: float
    gray: float
    white: float
    lesion: Callable[[np.random.Generator], float] | None = None


def draw(contrast: str, rng: np.random.Generator, physics: float = 0.5) -> Palette:
    """Intensities of a scan of a contrast, a share ``physics`` of them simulated."""
    signal = None
    if contrast not in CONTRASTS:
        tissues = rng.random(len(TISSUES))
    elif rng.random() < physics and (simulated := _simulated(contrast, rng)) is not None:
        signal, tissues = simulated
        scale = tissues.max()
        tissues = tissues / scale
    else:
        low, high = np.array([INTENSITIES[contrast][name] for name in TISSUES]).T
        tissues = low + (high - low) * rng.random(len(TISSUES))
    names = list(TISSUES)
    fluid, gray, white = (float(tissues[names.index(n)]) for n in ("ventricles", "cortex", "white matter"))
    lesion = None if signal is None else lambda source: float(signal(_constants(LESION, source)) / scale)
    return Palette(contrast, tissues.astype(np.float32), fluid, gray, white, lesion)


def _simulated(contrast: str, rng: np.random.Generator) -> tuple[Signal, np.ndarray] | None:
    """A protocol and the signal of each tissue; None when no drawn one shows the tissues in the contrast's order.

    Near an inversion time that nulls gray matter the magnitude of fluid is brighter: nobody scans like that.
    """
    names = list(TISSUES)
    for _ in range(_TRIES):
        signal = _protocol(contrast, rng)
        tissues = np.array([signal(_constants(CONSTANTS[name], rng)) for name in TISSUES])
        fluid, gray, white = (tissues[names.index(n)] for n in ("ventricles", "cortex", "white matter"))
        usual = {
            "T1": fluid < 0.7 * gray < 0.95 * 0.7 * white,
            "T2": white < gray < 0.8 * fluid,
            "FLAIR": fluid < 0.6 * white,
        }
        if usual[contrast]:
            return signal, tissues
    return None


def _constants(ranges: tuple[tuple[float, float], ...], rng: np.random.Generator) -> tuple[float, ...]:
    return tuple(float(np.exp(rng.uniform(np.log(low), np.log(high)))) for low, high in ranges)


def _protocol(contrast: str, rng: np.random.Generator) -> Signal:
    """A random protocol of a contrast as a function from (PD, T1, T2) to signal."""
    if contrast == "T2":
        return _spin_echo(rng.uniform(2800, 7000), rng.uniform(75, 125))
    if contrast == "FLAIR":
        tr = rng.uniform(7000, 11000)
        nulled = 3900 * (np.log(2) - np.log1p(np.exp(-tr / 3900)))  # where fluid of 3.9 s crosses zero
        return _inversion(tr, nulled * rng.uniform(0.98, 1.02), rng.uniform(85, 140))
    if rng.random() < 0.5:
        return _spin_echo(rng.uniform(350, 700), rng.uniform(8, 16))
    return _inversion(rng.uniform(1800, 2500), rng.uniform(800, 1050), rng.uniform(2, 5))


def _spin_echo(tr: float, te: float) -> Signal:
    return lambda c: c[0] * (1 - np.exp(-tr / c[1])) * np.exp(-te / c[2])


def _inversion(tr: float, ti: float, te: float) -> Signal:
    return lambda c: c[0] * abs(1 - 2 * np.exp(-ti / c[1]) + np.exp(-tr / c[1])) * np.exp(-te / c[2])
