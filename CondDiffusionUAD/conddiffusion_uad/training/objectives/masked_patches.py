"""Masked pre-training of the encoder: guess the patches of healthy slices that it was not shown.

Paper: Tian et al. 2023, "Designing BERT for Convolutional Networks: Sparse and Hierarchical Masked Modeling",
arXiv:2301.03580.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from conddiffusion_uad.model.cddpm import Noise
from conddiffusion_uad.training.data.slabs import Slabs
from conddiffusion_uad.training.networks.masked_autoencoder import masked_error, random_patches
from conddiffusion_uad.training.table import Table


@dataclass(frozen=True)
class MaskedSlices:
    """What a step learns from.

    Attributes:
        image: (B, 1, H, W) in [0, 1].
        seen: Which of its patches are seen, see :func:`random_patches`.
    """

    image: torch.Tensor
    seen: torch.Tensor


@dataclass(frozen=True)
class MaskedPatches(Table):
    """Guess masked patches: the mean squared error inside them.

    Attributes:
        masked: Share of the patches that is masked; 0.65 is the published one.
    """

    masked: float = 0.65
    pretrains: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.masked < 1:
            raise ValueError("masked is a share between 0 and 1")

    def corrupt(self, slabs: Slabs, noise: Noise, generator: torch.Generator) -> MaskedSlices:
        """The slices with random patches to be seen; see :class:`Objective`."""
        image = slabs.middle
        return MaskedSlices(image, random_patches(image, self.masked, generator))

    def loss(self, network: nn.Module, example: MaskedSlices) -> torch.Tensor:
        """The mean squared error in the masked patches."""
        return masked_error(network(example.image, example.seen), example.image, example.seen)
