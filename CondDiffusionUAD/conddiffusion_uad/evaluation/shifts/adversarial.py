"""Worst-case changes of a scan, too small to be seen: how far they move the residual, beside random ones of equal size.

Paper: Han et al. 2024, "On Instabilities of Unsupervised Denoising Diffusion Models in Magnetic Resonance Imaging
Reconstruction", arXiv:2406.16983: changes that nobody sees make such a model draw structures, or leave them out.

By projected gradient descent (Madry et al. 2017, arXiv:1706.06083), some steps of ``d <- clip(d + a sign(grad), -e,
e)`` raise the mean residual of healthy tissue (a false alarm), or lower that of a lesion (a missed one), with the noise
of the reconstruction held fixed. Changes stay inside the brain and intensities in [0, 1].

What differs: the paper attacks reconstructions from undersampled measurements; here it is the residual that anomaly
maps are made of, in a few slices of each scan, on the model's grid. A model that is fitted to each scan is attacked as
it was before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.data.cases import Examined
from conddiffusion_uad.method.anomaly_map.mahalanobis import dissimilarity
from conddiffusion_uad.method.brain import slices_of
from conddiffusion_uad.method.restore import Restorer
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices

FALSE_ALARM, MISSED_LESION = 1, -1
"""What an attack aims at: which way it moves the residual."""

WORST = "worst-case changes"
"""What a trial calls them."""

AIMS: Mapping[str, int] = MappingProxyType({"false alarm": FALSE_ALARM, "missed lesion": MISSED_LESION})
SIZES = tuple(step / 255 for step in (0.5, 1, 2, 4))  # gray levels of a screen
MOST_SLICES = 4  # of each scan: those with the most lesion, or with the most brain in a healthy one
STEPS = 10  # of the descent


def attacked(
    model: ConditionedDiffusion,
    restorer: Restorer,
    slices: Slices,
    seeds: Seeds,
    where: torch.Tensor,
    *,
    size: float,
    aim: int,
) -> torch.Tensor:
    """The images with the change that moves the residual most, (B, 1, H, W).

    Args:
        model: In its plain form, which gradients can follow.
        seeds: Of the noise, the same in all steps.
        where: Whose residual counts, boolean (B, 1, H, W), not empty.
        size: e, the largest change of a pixel, in units of normalized intensity.
        aim: ``FALSE_ALARM`` or ``MISSED_LESION``.
    """
    change = torch.zeros_like(slices.image)
    for _ in range(STEPS):
        change.requires_grad_(True)
        with torch.enable_grad():
            moved = residual(model, restorer, slices.with_image(slices.image + change), seeds, where)
            (slope,) = torch.autograd.grad(aim * moved, change)
        change = within(slices, (change.detach() + size / 4 * slope.sign()).clamp(-size, size))
    return slices.image + change


def random_like(slices: Slices, changed: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Images with changes of the same size in every pixel, up or down at random.

    Where only one way stays inside [0, 1], a change may be cut short.
    """
    signs = torch.randint(0, 2, changed.shape, generator=generator).to(changed) * 2 - 1
    return slices.image + within(slices, (changed - slices.image).abs() * signs)


def residual(
    model: ConditionedDiffusion, restorer: Restorer, slices: Slices, seeds: Seeds, where: torch.Tensor
) -> torch.Tensor:
    """The mean absolute difference of slices and their reconstructions somewhere, a scalar."""
    return (slices.image - restorer(model, slices, seeds).mean(dim=0)).abs()[where].mean()


def within(slices: Slices, change: torch.Tensor) -> torch.Tensor:
    """A change, but none outside the brain and none that leaves [0, 1]."""
    return ((slices.image + change).clamp(0, 1) - slices.image) * slices.brain


def worst_cases(bundle: Bundle, examined: Examined, seed: int) -> Iterator[dict[str, Any]]:
    """How far changes of each aim and size move the residual in a scan.

    Yields:
        ``aim``, ``size``; ``usual``, ``random`` and ``worst``, the mean residuals of healthy tissue or of lesion in the
        slices as they are and with such changes; ``similarity``, the mean structural similarity of the slices with the
        worst ones. No missed lesion where there is none.
    """
    truth = examined.truth_on_grid() & examined.mask
    order = np.lexsort((-examined.mask.sum(axis=(1, 2)), -truth.sum(axis=(1, 2))))
    chosen = np.sort(order[:MOST_SLICES])
    model, restorer = bundle.adaptable().requires_grad_(False), bundle.method.restore
    slices = slices_of(examined.prepared, bundle.method.context, examined.case.contrast, chosen).to(model.device)
    lesion = torch.from_numpy(truth[chosen]).unsqueeze(1).to(model.device)
    seeds, source = Seeds(seed, chosen), torch.Generator().manual_seed(seed)
    for name, aim in AIMS.items():
        where = slices.brain & ~lesion if aim == FALSE_ALARM else lesion
        for size in SIZES if bool(where.any()) else ():
            worst = attacked(model, restorer, slices, seeds, where, size=size, aim=aim)
            images = (slices.image, random_like(slices, worst, source), worst)
            with torch.no_grad():
                found = [float(residual(model, restorer, slices.with_image(i), seeds, where)) for i in images]
            first, last = (image[:, 0].cpu().numpy() for image in (slices.image, worst))
            brain = examined.mask[chosen]
            alike = float(1 - dissimilarity(first, last, brain)[brain].mean())
            yield {
                "aim": name,
                "size": size,
                **dict(zip(("usual", "random", "worst"), found, strict=True)),
                "similarity": alike,
            }
