"""Axial slices as a network sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

UNKNOWN = -1  # contrast that is not told


@dataclass(frozen=True)
class Slices:
    """A batch of B axial slices of H x W pixels, with all that a part of a method may look at.

    Attributes:
        image: Intensities in [0, 1], 0 outside the brain, float32, shape (B, 1, H, W).
        brain: Where the brain is, boolean, shape (B, 1, H, W).
        context: What else the denoiser sees beside the noisy slice, float32, shape (B, C, H, W); C may be 0.
        z: Height of each slice above the origin of the atlas, mm, float32, shape (B,); NaN where it is not known.
        contrast: Position of each slice's contrast in ``protocol.job.CONTRASTS``, or ``UNKNOWN``; int64, shape (B,).
    """

    image: torch.Tensor
    brain: torch.Tensor
    context: torch.Tensor
    z: torch.Tensor
    contrast: torch.Tensor

    @classmethod
    def of(cls, image: torch.Tensor) -> Slices:
        """Slices of which nothing but the image is known; the brain is where it is not 0.

        Args:
            image: Shape (B, 1, H, W).
        """
        count = len(image)
        return cls(
            image=image,
            brain=image > 0,
            context=image.new_zeros(count, 0, *image.shape[2:]),
            z=image.new_full((count,), torch.nan),
            contrast=torch.full((count,), UNKNOWN, device=image.device),
        )

    @classmethod
    def cat(cls, parts: Sequence[Slices]) -> Slices:
        """Several batches as one."""
        names = cls.__dataclass_fields__
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: slice | torch.Tensor) -> Slices:
        """Some of the slices."""
        return Slices(**{name: values[index] for name, values in vars(self).items()})

    def to(self, device: torch.device | str) -> Slices:
        """The same on a device."""
        return Slices(**{name: values.to(device) for name, values in vars(self).items()})

    def hiding(self, where: torch.Tensor) -> Slices:
        """The slices as if there were no brain in places; boolean (B, 1, H, W)."""
        return replace(self, image=self.image.masked_fill(where, 0), brain=self.brain & ~where)

    def with_image(self, image: torch.Tensor) -> Slices:
        """The same slices with other intensities, such as corrupted ones; shape (B, 1, H, W)."""
        return replace(self, image=image)
