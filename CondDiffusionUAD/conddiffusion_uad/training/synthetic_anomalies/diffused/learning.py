"""What a lesion diffusion learns: slices with lesions from under noise, small lesions counting as much as large ones.

The loss is the mean over all pixels of ``w (x - x')^2`` with x the slice in [-1, 1], x' its estimate, and
``w = 1 + (1 - |M| / |Omega|) M``: M is 1 inside the lesion, |M| its pixels, |Omega| those of the slice. So the weight
of a lesion is the larger the less of the slice it fills, up to 2.

What differs from ArSDM (Du et al. 2023): the error is that of the slice, not of the noise, as the network predicts the
slice; it is nearly 0 outside of what is drawn anew, which the network sees. The paper's refinement, by which a frozen
segmenter has to find the lesion where the mask is, is left out: it needs a segmenter that was trained with labels, and
the mask says already what may change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from conddiffusion_uad.model.cddpm import Noise
from conddiffusion_uad.model.schedule import STEPS
from conddiffusion_uad.training.data.synthesis import random_grid, uniform
from conddiffusion_uad.training.synthetic_anomalies.diffused.network import LesionDiffusion
from conddiffusion_uad.training.synthetic_anomalies.diffused.pairs import LesionSlice
from conddiffusion_uad.training.table import Table

_GAMMA = 0.25  # largest logarithm of the exponent that changes the intensities of a slice
_DEFORMATION = 0.6  # strength of random deformations, see ``random_grid``


@dataclass(frozen=True)
class Lesions:
    """Slices with lesions; all but the contrast are (B, 1, H, W).

    Attributes:
        image: In [0, 1], 0 outside the brain.
        mask: Where lesions are, boolean.
        contrast: Positions in ``protocol.job.CONTRASTS``, (B,).
    """

    image: torch.Tensor
    mask: torch.Tensor
    contrast: torch.Tensor

    def to(self, device: torch.device) -> Lesions:
        """The same on a device."""
        return Lesions(self.image.to(device), self.mask.to(device), self.contrast.to(device))


@dataclass(frozen=True)
class NoisyLesions(Lesions):
    """What a step learns from.

    Attributes:
        timestep: Of the noise, (B,).
        noise: That is put into the region, (B, 1, H, W).
    """

    timestep: torch.Tensor
    noise: torch.Tensor


class LesionBatches:
    """Random slices with lesions, mirrored, deformed, and with other intensities.

    Args:
        slices: At least one; those of a scan come as often as those of another.
        size: Of a batch.
    """

    def __init__(self, slices: Sequence[LesionSlice], size: int) -> None:
        self.size, self.per_epoch = size, max(len(slices) // size, 1)
        self._images = torch.stack([torch.from_numpy(each.image) for each in slices]).unsqueeze(1)
        self._masks = torch.stack([torch.from_numpy(each.mask) for each in slices]).unsqueeze(1)
        self._contrasts = torch.tensor([each.contrast for each in slices])
        counts = Counter(each.scan for each in slices)
        self._chances = torch.tensor([1 / counts[each.scan] for each in slices])

    def at(self, step: int, generator: torch.Generator) -> Lesions:
        """The batch of a step; lesions that a deformation leaves nothing of stay as they are."""
        chosen = torch.multinomial(self._chances, self.size, replacement=True, generator=generator)
        image, mask = self._images[chosen].float(), self._masks[chosen].float()
        grid = random_grid(self.size, (image.shape[2], image.shape[3]), generator, strength=_DEFORMATION)
        moved, brain, lesion = (
            functional.grid_sample(values, grid, align_corners=False) for values in (image, (image > 0).float(), mask)
        )
        moved = moved / brain.clamp(min=0.5) * (brain > 0.5)
        kept = (lesion > 0.5).flatten(1).any(dim=1).view(-1, 1, 1, 1)
        moved, lesion = torch.where(kept, moved, image), torch.where(kept, lesion, mask)
        exponent = torch.exp(uniform((self.size, 1, 1, 1), -_GAMMA, _GAMMA, generator))
        return Lesions(moved.clamp(0, 1) ** exponent, (lesion > 0.5) & (moved > 0), self._contrasts[chosen])


def area_weight(mask: torch.Tensor) -> torch.Tensor:
    """``1 + (1 - |M| / |Omega|) M`` of masks (B, 1, H, W), boolean; float32, same shape."""
    inside = mask.float()
    return 1 + (1 - inside.mean(dim=(1, 2, 3), keepdim=True)) * inside


@dataclass(frozen=True)
class AreaWeighted(Table):
    """Give back slices with lesions from under noise in the lesions' regions, with the area-weighted loss."""

    pretrains: ClassVar[bool] = False

    def corrupt(self, lesions: Lesions, noise: Noise, generator: torch.Generator) -> NoisyLesions:
        """The slices with noise of random timesteps."""
        count = len(lesions.image)
        timestep = torch.randint(1, STEPS + 1, (count,), generator=generator).to(lesions.image.device)
        seeds = torch.randint(2**31, (count,), generator=generator).tolist()
        return NoisyLesions(**vars(lesions), timestep=timestep, noise=noise(seeds, lesions.image))

    def loss(self, network: LesionDiffusion, example: NoisyLesions) -> torch.Tensor:
        """The area-weighted mean squared error in [-1, 1]."""
        clean = 2 * example.image - 1
        model = getattr(network, "module", network)  # of several processes, whose gradients are averaged
        region = model.region(example.mask, example.image > 0)
        noisy = model.noisy(clean, example.noise, example.timestep, region)
        estimate = network(noisy, example.timestep, example.mask, region, example.contrast)
        return (area_weight(example.mask) * (estimate - clean).square()).mean()
