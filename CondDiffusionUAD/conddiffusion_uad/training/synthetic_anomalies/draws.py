"""Which anomalies a scan has: none, many small ones, a large one, both, a tumor, or the lesions of a real patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from conddiffusion_uad.training.data.geometry import Push
from conddiffusion_uad.training.data.signal_equations import Palette
from conddiffusion_uad.training.synthetic_anomalies import intensity
from conddiffusion_uad.training.synthetic_anomalies.anomaly import ANY, SOLID, Anomaly, Core, Halo
from conddiffusion_uad.training.synthetic_anomalies.fade import Fade
from conddiffusion_uad.training.synthetic_anomalies.intensity import Texture
from conddiffusion_uad.training.synthetic_anomalies.place import Places
from conddiffusion_uad.training.synthetic_anomalies.shape import Blob, RealShape

_KINDS = {"none": 0.07, "small": 0.4, "mixed": 0.13, "large": 0.06, "tumor": 0.26, "real": 0.08}
_LEVEL = 0.5  # share of small lesions near the height of the first one, so that a slab shows several
_SMALL_MM, _LARGE_MM, _TUMOR_MM = (1.3, 7.0), (8.0, 35.0), (12.0, 50.0)
_INFILTRATING = 0.35  # share of tumors
_BEYOND_GRAY = (-0.15, 0.0, 1.0)  # least, most frequent and most of how far the others go from gray matter to a lesion
_OLD, _BESIDE_MM = 0.4, 25.0  # share of large strokes that are old; how far off they may widen a ventricle
_SMALL_PLACES = {"ventricles": 0.35, "cortex": 0.2, "white": 0.25, "anywhere": 0.2}
Shapes = Sequence[tuple[torch.Tensor, tuple[float, float, float]]]  # masks of real lesions and their origins


def draw(
    palette: Palette, places: Places, shapes: Shapes, rng: np.random.Generator
) -> tuple[list[Anomaly], list[Push]]:
    """The anomalies of one scan, and how they push or pull the tissue around them.

    Args:
        palette: Intensities of the scan.
        places: Where there is what.
        shapes: Real lesions; none of them is drawn when there are none.
        rng: Source of randomness.
    """
    kind = rng.choice(list(_KINDS), p=list(_KINDS.values()))
    texture = Texture.draw(rng)
    found: list[Anomaly] = []
    pushes: list[Push] = []
    if kind in ("small", "mixed") or (kind == "real" and not shapes):
        value = intensity.draw(palette, rng)
        for _ in range(1 + int(24 * rng.random() ** 2) if kind == "small" else int(rng.integers(1, 5))):
            value = value if rng.random() < 0.7 else intensity.draw(palette, rng)  # lesions of one scan are alike
            height = float(found[0].shape.center[0]) if found and rng.random() < _LEVEL else None
            found.append(_small(palette, places, texture, value, height, rng))
    if kind in ("large", "mixed"):
        anomaly, push = _large(palette, places, texture, rng)
        found.append(anomaly)
        pushes += push
    if kind == "tumor":
        parts, pushes = _tumor(palette, places, rng)
        found += parts
    if kind == "real" and shapes:
        anomaly, pushes = _real(palette, places, shapes, texture, rng)
        found.append(anomaly)
    return found, pushes


def _small(
    palette: Palette, places: Places, texture: Texture, value: float, height: float | None, rng: np.random.Generator
) -> Anomaly:
    radius = float(np.exp(rng.uniform(*np.log(_SMALL_MM))))
    center = places.draw(rng.choice(list(_SMALL_PLACES), p=list(_SMALL_PLACES.values())), rng, height)
    center = center + np.array([rng.uniform(-0.7, 0.7) * radius, 0, 0])
    shape = Blob.draw(center, radius, rng)
    halo = None
    if rng.random() < 0.15:
        halo = Halo(rng.uniform(1.3, 1.8), value, rng.uniform(0.1, 0.4))
    return Anomaly(shape, value, Fade.draw(center, 2 * radius, rng, _plain(palette)), texture, SOLID, None, halo)


def _large(palette: Palette, places: Places, texture: Texture, rng: np.random.Generator) -> tuple[Anomaly, list[Push]]:
    radius = float(np.exp(rng.uniform(*np.log(_LARGE_MM))))
    center = places.draw("anywhere", rng)
    shape = Blob.draw(center, radius, rng)
    value = intensity.draw(palette, rng)
    core = Core(rng.uniform(0.4, 0.8), palette.fluid * rng.uniform(0.9, 1.3)) if rng.random() < 0.4 else None
    halo = None
    if rng.random() < 0.4:
        halo = Halo(rng.uniform(1.2, 1.9), intensity.draw(palette, rng), rng.uniform(0.2, 0.8))
    groups = ANY if rng.random() < 0.35 else SOLID
    pushes = []
    if core is not None and rng.random() < _OLD:
        pushes = _shrunken(center, radius, places, rng)
    elif rng.random() < 0.5:
        pushes = [Push(center, radius, rng.uniform(0.05, 0.35))]
    fade = Fade.draw(center, 2 * radius, rng, _plain(palette))
    return Anomaly(shape, value, fade, texture, groups, core, halo, whole=True), pushes


def _tumor(palette: Palette, places: Places, rng: np.random.Generator) -> tuple[list[Anomaly], list[Push]]:
    """A mass that may be as bright as gray matter, with edema around it and cysts and other parts in it.

    Some infiltrate: they are as bright as a lesion, and the folds of the brain are seen through them.
    """
    radius = float(np.exp(rng.uniform(*np.log(_TUMOR_MM))))
    center = places.draw("anywhere", rng)
    texture = Texture.draw(rng, 0.3, 0.2)
    groups = ANY if rng.random() < 0.7 else SOLID
    infiltrates = rng.random() < _INFILTRATING
    least, most = (0.25, 0.7) if infiltrates else (0.75, 1.0)

    def part(middle: np.ndarray, size: float, value: float, halo: Halo | None = None) -> Anomaly:
        opacity = rng.uniform(least, most)
        shape = Blob.draw(middle, size, rng)
        return Anomaly(shape, value, Fade(None, opacity, opacity), texture, groups, halo=halo, whole=True)

    def solid() -> float:
        bright = 1.0 if infiltrates else rng.triangular(*_BEYOND_GRAY)
        return float(palette.gray + bright * (intensity.draw(palette, rng) - palette.gray))

    edema = None
    if rng.random() < 0.7:
        edema = Halo(rng.uniform(1.15, 1.8), intensity.draw(palette, rng), rng.uniform(0.4, 1))
    found = [part(center, radius, solid(), edema)]
    for _ in range(rng.integers(4)):
        value = palette.fluid * rng.uniform(0.85, 1.2) if rng.random() < 0.4 else solid()
        found.append(part(center + rng.normal(0, 0.4 * radius, 3), radius * rng.uniform(0.25, 0.6), value))
    pushes = [Push(center, radius, rng.uniform(0.1, 0.4))] if rng.random() < 0.8 else []
    return found, pushes


def _real(
    palette: Palette, places: Places, shapes: Shapes, texture: Texture, rng: np.random.Generator
) -> tuple[Anomaly, list[Push]]:
    sizes = np.array([float(mask.sum()) ** -0.5 for mask, _ in shapes])  # the many strokes are the large ones
    mask, origin = shapes[rng.choice(len(shapes), p=sizes / sizes.sum())]
    shape = RealShape(mask, origin, bool(rng.random() < 0.5), rng.uniform(-6, 6, 3))
    fade = Fade.draw(np.zeros(3), 100.0, rng, _plain(palette))
    radius = float(3 * mask.sum() / (4 * np.pi)) ** (1 / 3)
    old = radius > _LARGE_MM[0] and shape.holds_its_middle and rng.random() < _OLD  # not the scattered lesions of MS
    pushes = _shrunken(shape.middle, radius, places, rng) if old else []
    return Anomaly(shape, intensity.draw(palette, rng), fade, texture, SOLID), pushes


def _shrunken(center: np.ndarray, radius: float, places: Places, rng: np.random.Generator) -> list[Push]:
    """Atrophy beside an old stroke: tissue is drawn to it, and the ventricle nearby is wide."""
    pushes = [Push(center, radius, rng.uniform(-0.25, -0.03))]
    ventricle = places.nearest("inside ventricles", center)
    if ventricle is not None and np.linalg.norm(ventricle - center) < radius + _BESIDE_MM:
        pushes.append(Push(ventricle, rng.uniform(8, 18), rng.uniform(0.15, 0.4)))
    return pushes


def _plain(palette: Palette) -> bool:
    """Whether all but tumors are to be plain to see: on T1, where healthy tissue is dark, faint ones teach nothing."""
    return palette.contrast == "T1"
