"""Pieces of healthy volumes: the slices that are learned from, and those around them that a context looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.brain import Volume, slices_of
from conddiffusion_uad.method.context import Context
from conddiffusion_uad.model.slices import UNKNOWN, Slices
from conddiffusion_uad.protocol.job import CONTRASTS


@dataclass(frozen=True)
class View:
    """What a network sees of a volume, in a training as in a detection.

    Attributes:
        grid: Of the bundle.
        contexts: What the denoiser sees beside the noisy slice.
    """

    grid: Grid
    contexts: Sequence[Context] = ()

    @property
    def reach(self) -> int:
        """How many slices below and above the one in the middle are looked at."""
        return max((context.reach for context in self.contexts), default=0)

    @property
    def thickness(self) -> int:
        """Slices of a slab."""
        return 2 * self.reach + 1


_ENTRIES = ("volume", "brain", "z", "contrast", "source")  # of which each slab has one


@dataclass(frozen=True)
class Slabs:
    """B pieces of healthy volumes, each D = ``view.thickness`` slices on the bundle's grid.

    Attributes:
        volume: Intensities in [0, 1], 0 outside the brain, float32, shape (B, D, H, W).
        brain: Where the brain is, boolean, same shape.
        z: Position of the slice in the middle along z on the grid, int64, shape (B,).
        contrast: Position in ``protocol.job.CONTRASTS``, or ``UNKNOWN``; int64, shape (B,).
        source: Position of the source that they are from among those that are learned from; int64, shape (B,).
        view: What the network sees of them.
    """

    volume: torch.Tensor
    brain: torch.Tensor
    z: torch.Tensor
    contrast: torch.Tensor
    source: torch.Tensor
    view: View

    def __len__(self) -> int:
        return len(self.volume)

    def __getitem__(self, index: slice | torch.Tensor) -> Slabs:
        """Some of them."""
        return replace(self, **{name: getattr(self, name)[index] for name in _ENTRIES})

    @classmethod
    def cat(cls, parts: Sequence[Slabs]) -> Slabs:
        """Several batches of one view as one."""
        joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in _ENTRIES}
        return cls(**joined, view=parts[0].view)

    @classmethod
    def of(
        cls, images: torch.Tensor, brain: torch.Tensor, z: Sequence[int], contrasts: Sequence[str], view: View
    ) -> Slabs:
        """Slabs from their slices in a row, (B * D, 1, H, W), and a place and the name of a contrast for each.

        Names that are no contrast of scans are unknown ones. All are from the first source.
        """
        shape = (len(z), view.thickness, *images.shape[2:])
        known = [CONTRASTS.index(name) if name in CONTRASTS else UNKNOWN for name in contrasts]
        source = torch.zeros(len(z), dtype=torch.long)
        return cls(images.view(shape), brain.view(shape), torch.tensor(z), torch.tensor(known), source, view)

    def of_source(self, source: torch.Tensor | int) -> Slabs:
        """The same, from another source, or each from one of its own, (B,)."""
        return replace(self, source=torch.as_tensor(source).expand(len(self)))

    @property
    def middle(self) -> torch.Tensor:
        """The slices that are learned from, (B, 1, H, W)."""
        return self.volume[:, self.view.reach, None]

    def to(self, device: torch.device) -> Slabs:
        """The same with their intensities and brains on a device; channels last, as convolutions like it."""
        volume = self.volume.to(device, memory_format=torch.channels_last)
        return replace(self, volume=volume, brain=self.brain.to(device))

    def slices(self) -> Slices:
        """The slices in the middle as the network sees them, with their context; on the device of the volume."""
        if self.view.contexts:
            return Slices.cat([self._slice(index) for index in range(len(self))]).to(self.volume.device)
        image, origin, spacing = self.middle, self.view.grid.origin[2], self.view.grid.spacing[2]
        return Slices(
            image=image,
            brain=self.brain[:, self.view.reach, None],
            context=image.new_zeros(len(self), 0, *image.shape[2:]),
            z=(origin + spacing * self.z).to(image),
            contrast=self.contrast.to(image.device),
        )

    def _slice(self, index: int) -> Slices:
        """One slice, from a volume that is empty but for its slab: what a context finds in a whole one."""
        depth = self.view.grid.size[2]
        volume = np.zeros((depth, *self.volume.shape[2:]), np.float32)
        mask = np.zeros(volume.shape, bool)
        z, contrast = int(self.z[index]), int(self.contrast[index])
        for layer, position in enumerate(range(z - self.view.reach, z + self.view.reach + 1)):
            if 0 <= position < depth:
                volume[position] = self.volume[index, layer].cpu().numpy()
                mask[position] = self.brain[index, layer].cpu().numpy()
        name = None if contrast == UNKNOWN else CONTRASTS[contrast]
        return slices_of(Volume(volume, mask, self.view.grid), self.view.contexts, name, np.array([z]))


def around(values: np.ndarray, z: int, reach: int) -> np.ndarray:
    """Slices ``z - reach`` to ``z + reach`` of a volume (z, y, x), float32; empty beyond the volume."""
    result = np.zeros((2 * reach + 1, *values.shape[1:]), np.float32)
    low, high = max(z - reach, 0), min(z + reach + 1, len(values))
    result[low - z + reach : high - z + reach] = values[low:high]
    return result
