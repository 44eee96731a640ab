"""One anomaly: a shape with an intensity, put into a healthy scan before it is normalized."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from conddiffusion_uad.training.data.healthy_sources import DEEP, FLUID, GRAY, VENTRICLE, WHITE, Sampled
from conddiffusion_uad.training.data.lattice import Lattice
from conddiffusion_uad.training.synthetic_anomalies.fade import Fade
from conddiffusion_uad.training.synthetic_anomalies.intensity import Texture
from conddiffusion_uad.training.synthetic_anomalies.shape import Blob, RealShape

SOLID = (GRAY, WHITE, DEEP)
ANY = (FLUID, GRAY, WHITE, VENTRICLE, DEEP)
_VISIBLE = 0.3  # least change that counts as an anomaly, as a share of the distance from white matter to fluid
_OPAQUE = 0.25  # least opacity at which an anomaly took the place of healthy tissue


@dataclass(frozen=True)
class Core:
    """The inside of a large anomaly: relative size and intensity."""

    size: float
    value: float


@dataclass(frozen=True)
class Halo:
    """Edema in the white matter around an anomaly: relative size, intensity and opacity."""

    size: float
    value: float
    opacity: float


@dataclass(frozen=True)
class Anomaly:
    """What replaces healthy tissue at a place.

    Attributes:
        shape: Where.
        value: Intensity.
        fade: Opacity.
        texture: Unevenness inside; None for even.
        groups: Tissue that it can replace.
        core, halo: Its inside and surroundings, if they differ.
        counts: Whether it is an anomaly; False for a healthy look-alike.
        whole: Whether it counts wherever it took the place of healthy tissue, not only where it changes the intensity:
            a tumor as bright as the gray matter that was there is one, too.
    """

    shape: Blob | RealShape
    value: float
    fade: Fade
    texture: Texture | None
    groups: tuple[int, ...] = SOLID
    core: Core | None = None
    halo: Halo | None = None
    counts: bool = True
    whole: bool = False

    def put(self, image: torch.Tensor, label: torch.Tensor, healthy: Sampled, lattice: Lattice, spread: float) -> None:
        """Change an image and the label of what is anomalous in it, both (Z, Y, X), in place.

        Args:
            image: Intensities before normalization.
            label: Share of anomaly, 0 to 1.
            healthy: The tissue of the same scan.
            lattice: Where the voxels lie.
            spread: Distance from white matter to fluid in the image's units, positive.
        """
        if self.halo is not None and (found := self.shape.on(lattice, self.halo.size)):
            where, share = found
            share = share * (healthy.tissue[where] == WHITE)
            self._blend(image, label, where, share, self.halo.value, self.halo.opacity, spread)
        found = self.shape.on(lattice)
        if found is None:
            return
        where, share = found
        part = lattice.part(where)
        value: torch.Tensor | float = self.value
        if self.core is not None and (inside := self.shape.on(lattice, self.core.size)) is not None:
            value = torch.full(image.shape, self.value, device=image.device)
            value[inside[0]] += inside[1] * (self.core.value - self.value)
            value = value[where]
        if self.texture is not None:
            value = value + spread * self.texture.on(part)
        allowed = torch.zeros(6, device=image.device)
        allowed[list(self.groups)] = 1
        share = share * allowed[healthy.tissue[where].int()]
        opacity = self.fade.on(part)
        self._blend(image, label, where, share, value, opacity, spread)
        if self.whole and self.counts:
            label[where] = torch.maximum(label[where], share * (opacity >= _OPAQUE))

    def _blend(self, image, label, where, share, value, opacity, spread: float) -> None:
        before = image[where]
        kept = 0.0 if self.texture is None else self.texture.kept
        change = opacity * share * (value - before)
        if kept:
            change = change + kept * share * (before - before.mean()).clamp(-0.1 * spread, 0.1 * spread)
        image[where] = before + change
        if self.counts:
            label[where] = torch.maximum(label[where], share * (change.abs() > _VISIBLE * spread))
