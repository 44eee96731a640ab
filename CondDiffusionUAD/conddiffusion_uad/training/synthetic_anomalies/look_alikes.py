"""What looks like an anomaly in healthy brains and is none: hard negatives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from conddiffusion_uad.training.data.geometry import Push
from conddiffusion_uad.training.data.healthy_sources import DEEP, FLUID, GRAY, VENTRICLE, WHITE, Sampled
from conddiffusion_uad.training.data.lattice import blurred
from conddiffusion_uad.training.data.signal_equations import Palette
from conddiffusion_uad.training.synthetic_anomalies.anomaly import ANY, Anomaly
from conddiffusion_uad.training.synthetic_anomalies.fade import Fade
from conddiffusion_uad.training.synthetic_anomalies.place import Places
from conddiffusion_uad.training.synthetic_anomalies.shape import Blob

_WIDENED = (  # place, share of the scans, radius in mm, strength of one to three pushes
    ("inside ventricles", 0.4, (6.0, 22.0), (-0.15, 0.4)),
    ("fluid", 0.25, (5.0, 12.0), (-0.1, 0.35)),
    ("insula", 0.2, (5.0, 12.0), (-0.1, 0.4)),
)
_PULSATING = 0.1  # share of scans in which a vessel leaves copies of itself along the phase axis


def draw(palette: Palette, places: Places, rng: np.random.Generator) -> list[Anomaly]:
    """Choroid plexus, perivascular spaces, flow in fluid, sinuses, pulsation: each in a share of the scans."""
    low, high = sorted((palette.fluid, max(palette.gray, palette.white)))
    span = max(high - low, 1e-3)
    found: list[Anomaly] = []
    if places.has("inside ventricles") and rng.random() < 0.5:
        found += [
            _patch("inside ventricles", (1.5, 5.0), rng.uniform(low, high + 0.3 * span), (VENTRICLE,), places, rng)
            for _ in range(rng.integers(1, 5))
        ]
    if rng.random() < 0.4:
        found += [_perivascular(palette, places, rng) for _ in range(rng.integers(2, 16))]
    if places.has("fluid") and rng.random() < 0.4:
        kinds = [name for name in ("inside ventricles", "insula", "fluid", "fluid") if places.has(name)]
        kind = kinds[rng.integers(len(kinds))]
        found += [
            _patch(kind, (1.5, 6.0), rng.uniform(low, high + 0.4 * span), (FLUID, VENTRICLE), places, rng)
            for _ in range(rng.integers(1, 6))
        ]
    if places.has("sinuses") and rng.random() < 0.5:
        found += [
            _patch("sinuses", (1.5, 5.0), rng.uniform(low, high + 0.5 * span), ANY, places, rng)
            for _ in range(rng.integers(1, 4))
        ]
    if places.has("fluid") and rng.random() < _PULSATING:
        found += _pulsating(palette, places, rng)
    return found


def widened(places: Places, rng: np.random.Generator) -> list[Push]:
    """Wide ventricles and sulci of an old brain, and seldom narrow ones: how healthy tissue is pushed or pulled."""
    pushes = []
    for kind, share, radii, strengths in _WIDENED:
        if places.has(kind) and rng.random() < share:
            strength = rng.uniform(*strengths)
            pushes += [Push(places.draw(kind, rng), rng.uniform(*radii), strength) for _ in range(rng.integers(1, 4))]
    return pushes


def _patch(kind: str, radii: tuple[float, float], value: float, groups, places: Places, rng) -> Anomaly:
    center, radius = places.draw(kind, rng), rng.uniform(*radii)
    shape = Blob.draw(center, radius, rng, stretch=0.7)
    return Anomaly(shape, float(value), Fade.draw(center, 2 * radius, rng), None, groups, counts=False)


def _perivascular(palette: Palette, places: Places, rng: np.random.Generator) -> Anomaly:
    """A thin tube of fluid in white matter or the basal ganglia, along one direction."""
    center = places.draw("white", rng)
    shape = Blob.draw(center, rng.uniform(0.8, 1.3), rng, stretch=0.2)
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    shape = replace(shape, axes=rotation * np.array([0.35, 1.4, 1.4]), lobes=(np.zeros((1, 3)), np.ones(1)))
    fade = replace(Fade.draw(center, 4.0, rng), low=0.6, high=rng.uniform(0.3, 0.8))
    return Anomaly(shape, palette.fluid, fade, None, (WHITE, DEEP, GRAY), counts=False)


def _pulsating(palette: Palette, places: Places, rng: np.random.Generator) -> list[Anomaly]:
    """Faint copies of a pulsating vessel in a row along y or x, brighter and darker than gray matter in turn."""
    vessel, radius, step = places.draw("fluid", rng), rng.uniform(1.2, 3.5), rng.uniform(10, 35)
    along = np.array([0.0, 1.0, 0.0] if rng.random() < 0.5 else [0.0, 0.0, 1.0])
    sign = rng.choice([-1.0, 1.0])
    copies = []
    for number in (-3, -2, -1, 1, 2, 3):
        opacity = rng.uniform(0.08, 0.25) / abs(number) ** 0.5
        value = palette.gray + sign * (-1) ** number * rng.uniform(0.4, 1.0) * abs(palette.gray - palette.fluid)
        shape = Blob.draw(vessel + number * step * along, radius, rng, stretch=0.3)
        copies.append(Anomaly(shape, float(value), Fade(None, opacity, opacity), None, ANY, counts=False))
    return copies


def rimmed(image: torch.Tensor, healthy: Sampled, palette: Palette, rng: np.random.Generator) -> torch.Tensor:
    """Caps and rims: white matter beside the ventricles a little like a lesion, in half of the scans that show it."""
    if rng.random() < 0.5 or palette.contrast not in ("T1", "T2", "FLAIR"):
        return image
    sigma = rng.uniform(1.0, 2.5)
    ventricles = (healthy.tissue == VENTRICLE).to(image.dtype)
    near = blurred(ventricles, (sigma / 2, sigma, sigma)) * (healthy.tissue == WHITE)
    sign = -1.0 if palette.contrast == "T1" else 1.0
    return image + sign * rng.uniform(0.1, 0.6) * abs(palette.white - palette.fluid) * near
