"""Healthy anatomy as a function of place: what a label map, a scan or a single slice holds at any point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.training.data import healthy_bank, signal_equations
from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.folia import Folia
from conddiffusion_uad.training.data.lattice import SmoothField
from conddiffusion_uad.training.data.signal_equations import Palette

OUTSIDE, FLUID, GRAY, WHITE, VENTRICLE, DEEP = range(6)  # what anomalies and look-alikes ask a place for
_GROUPS = {
    "white matter": WHITE, "cortex": GRAY, "ventricles": VENTRICLE, "subarachnoid fluid": FLUID,
    "cerebellar white matter": WHITE, "cerebellar cortex": GRAY, "thalamus": DEEP, "caudate": DEEP, "putamen": DEEP,
    "pallidum": DEEP, "brainstem": DEEP, "hippocampus": GRAY, "choroid plexus": VENTRICLE,
}  # fmt: skip
_CEREBELLAR_CORTEX = 1 + list(TISSUES).index("cerebellar cortex")


@dataclass(frozen=True)
class Sampled:
    """Healthy tissue at the points of a lattice, each (Z, Y, X).

    Attributes:
        image: Intensities before normalization, 0 outside the brain.
        tissue: uint8, one of OUTSIDE, FLUID, GRAY, WHITE, VENTRICLE, DEEP.
        brain: Share of brain, 0 to 1.
    """

    image: torch.Tensor
    tissue: torch.Tensor
    brain: torch.Tensor


class LabelSource:
    """A label map filled with the intensities of a palette, its cerebellum with folia where they are given."""

    supersampled = True  # nearest labels: several points make a voxel

    def __init__(self, inputs: healthy_bank.Inputs, palette: Palette, folia: Folia | None = None) -> None:
        self._classes, self.palette, self._folia = torch.from_numpy(inputs.image), palette, folia
        self._means = torch.from_numpy(np.concatenate([[0.0], palette.tissues]).astype(np.float32))

    def sample(self, points: torch.Tensor) -> Sampled:
        """What lies at points (3, Z, Y, X), mm in the order z, y, x."""
        classes = _nearest(self._classes.to(points.device), points, healthy_bank.LABELS).int()
        groups = torch.tensor([OUTSIDE, *(_GROUPS[name] for name in TISSUES)], dtype=torch.uint8, device=points.device)
        tissue = groups[classes]
        image = self._means.to(points.device)[classes]
        if self._folia is not None:
            where = classes == _CEREBELLAR_CORTEX
            fluid, white = self._folia.shares(points[:, where])
            cortex = image[where]
            image[where] = cortex + fluid * (self.palette.fluid - cortex) + white * (self.palette.white - cortex)
        return Sampled(image, tissue, (tissue > 0).to(points.dtype))


class ScanSource:
    """A real scan or slice, as it is or with its tissues remapped to another contrast."""

    supersampled = False

    def __init__(self, inputs: healthy_bank.Inputs, contrast: str, rng: np.random.Generator, index: int = 0) -> None:
        flat = inputs.kind == "slices"
        image, tissue = (a[index : index + 1] if flat else a for a in (inputs.image, inputs.tissue))
        self._image, self._tissue = torch.from_numpy(image), torch.from_numpy(tissue)
        levels = [float(np.median(image[tissue == k])) for k in (FLUID, GRAY, WHITE)]
        self._curve = None
        if contrast != inputs.contrast:
            wanted = signal_equations.draw(contrast, rng, physics=0.3)
            targets = [wanted.fluid, wanted.gray, wanted.white]
            ends = [targets[0] + 0.3 * (targets[0] - targets[1]), targets[2] + 0.3 * (targets[2] - targets[1])]
            low, high = min(levels[0] - 0.02, 0.0), max(1.0, levels[2] + 0.02)
            points = [[low, *levels, high], [ends[0], *targets, ends[1]]]
            self._curve = torch.tensor(points)
            levels = targets
        self.palette = Palette(contrast, np.zeros(0, np.float32), *levels)

    def sample(self, points: torch.Tensor) -> Sampled:
        """What lies at points (3, Z, Y, X), mm in the order z, y, x."""
        grid = healthy_bank.FINE
        tissue = _nearest(self._tissue.to(points.device), points, grid)
        volume = self._image.to(points)
        pair = torch.stack([volume, (self._tissue.to(points.device) > 0).to(volume)])[None]
        index = _index(points, grid)
        place = torch.stack([2 * index[k] / max(pair.shape[2 + k] - 1, 1) - 1 for k in (2, 1, 0)], -1)[None]
        if pair.shape[2] == 1:  # a single slice is the same at every height
            place[..., 2] = 0
        image, brain = functional.grid_sample(pair, place, align_corners=True)[0]
        image = image / brain.clamp(min=1e-3)
        if self._curve is not None:
            image = _piecewise(image, *self._curve.to(image))
        return Sampled(torch.where(brain > 0.05, image, 0.0), tissue, brain)


def textured(
    sampled: Sampled, fields: tuple[SmoothField, SmoothField], lattice, strengths, palette: Palette
) -> Sampled:
    """Smooth variation inside tissue: one slow field for each of fluid, gray and white, and a fine one for all.

    Args:
        fields: Three slow channels, and a fine one.
        strengths: Relative standard deviations of fluid, gray, white and of the fine field.
    """
    slow = fields[0].on(lattice)
    spread = abs(palette.white - palette.fluid)
    fluid = (sampled.tissue == FLUID) | (sampled.tissue == VENTRICLE)
    white = sampled.tissue == WHITE
    change = torch.where(
        fluid, strengths[0] * slow[0], torch.where(white, strengths[2] * slow[2], strengths[1] * slow[1])
    )
    change = change + torch.where(fluid, 0.3, 1.0) * strengths[3] * fields[1].on(lattice)[0]
    return Sampled(sampled.image + spread * change * (sampled.tissue > 0), sampled.tissue, sampled.brain)


def _index(points: torch.Tensor, grid: Grid) -> torch.Tensor:
    origin, spacing = (points.new_tensor(v[::-1])[:, None, None, None] for v in (grid.origin, grid.spacing))
    return (points - origin) / spacing


def _nearest(values: torch.Tensor, points: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Values (Z, Y, X) on a grid at the nearest voxels to points; 0 outside; one slice stands for every height."""
    index = _index(points, grid).round_().to(torch.int32)
    if len(values) == 1:
        index[0] = 0
    inside = torch.ones_like(index[0], dtype=torch.bool)
    for axis, size in enumerate(values.shape):
        inside &= (index[axis] >= 0) & (index[axis] < size)
        index[axis].clamp_(0, size - 1)
    flat = (index[0] * values.shape[1] + index[1]) * values.shape[2] + index[2]
    found = values.flatten()[flat.flatten().long()].view(flat.shape)
    return torch.where(inside, found, torch.zeros_like(found))


def _piecewise(image: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The piecewise linear curve through control points; flat beyond its ends."""
    result = torch.full_like(image, float(targets[0]))
    for x0, x1, y0, y1 in zip(sources[:-1], sources[1:], targets[:-1], targets[1:], strict=True):
        result += ((image - x0) / (x1 - x0)).clamp(0, 1) * (y1 - y0)
    return result
