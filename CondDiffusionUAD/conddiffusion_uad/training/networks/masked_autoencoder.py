"""A masked auto-encoder around the encoder: it learns to describe slices by guessing patches that it was not shown.

The method is SparK (Tian et al. 2023) in the configuration of the published model: features of four scales, learned
tokens where nothing was seen, a light decoder with skip connections.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from conddiffusion_uad.model.residual_network import ResidualNetwork
from conddiffusion_uad.training.networks.sparse import STRIDE, ActiveSites, SparseEncoder, SparseLayers

_STAGES = 5  # of the decoder, each doubles the resolution: 2^5 = STRIDE
_TOKEN_STD = 0.02


class DecoderStage(nn.Module):
    """Double the resolution, then two convolutions, the second to another number of channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, inputs, 4, stride=2, padding=1)
        self.convolutions = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU6(inplace=True),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (B, inputs, H, W) to (B, outputs, 2 H, 2 W)."""
        return self.convolutions(self.up(x))


class Densify(nn.Module):
    """Features of one scale made dense for the decoder: normalized, a learned token where nothing was seen, projected.

    Args:
        side: Of the projection's kernel.
    """

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, inputs, 1, 1), std=_TOKEN_STD))
        self.project = nn.Conv2d(inputs, outputs, side, padding=side // 2)
        self._layers = SparseLayers(self.norm)

    def forward(self, features: torch.Tensor, sites: ActiveSites) -> torch.Tensor:
        """From (B, inputs, H, W), zero at the masked sites, to (B, outputs, H, W)."""
        self._layers.sites = sites
        normalized = self.norm(features)
        return self.project(torch.where(sites.at(features.shape), normalized, self.token.to(normalized.dtype)))


class MaskedAutoencoder(nn.Module):
    """Guesses the masked patches of slices from the others.

    Args:
        encoder: Loses its head and becomes sparse, in place; its other weights are what the training is for.
        width: Channels of the decoder at the coarsest scale, halved at every finer one; a multiple of 32. The published
            model has 512.
    """

    def __init__(self, encoder: ResidualNetwork, width: int = 512) -> None:
        super().__init__()
        self.encoder = SparseEncoder(encoder)
        widths = [width // 2**stage for stage in range(_STAGES + 1)]
        channels = self.encoder.channels[::-1]
        self.dense = nn.ModuleList(
            Densify(inputs, outputs, 3 if scale else 1)
            for scale, (inputs, outputs) in enumerate(zip(channels, widths, strict=False))
        )
        self.decoder = nn.ModuleList(DecoderStage(inputs, outputs) for inputs, outputs in pairwise(widths))
        self.head = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, slices: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """The slices as guessed from the patches that are seen.

        Args:
            slices: (B, 1, H, W) in [0, 1]; what stands in the masked patches is not looked at.
            seen: Boolean, see :func:`random_patches`.

        Returns:
            (B, 1, H, W), not clamped.
        """
        left, right, top, bottom = padding = _margins(slices.shape)
        sites = ActiveSites(seen)
        features = self.encoder(functional.pad(slices, padding), sites)[::-1]
        skips = [dense(scale, sites) for dense, scale in zip(self.dense, features, strict=True)]
        h = torch.zeros_like(skips[0])
        for index, stage in enumerate(self.decoder):
            h = stage(h + skips[index] if index < len(skips) else h)
        guess = self.head(h).float()
        return guess[:, :, top : guess.shape[2] - bottom, left : guess.shape[3] - right]


def patch_grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of patches that cover a slice; it lies in the middle of them."""
    return math.ceil(height / STRIDE), math.ceil(width / STRIDE)


def seen_patches(height: int, width: int, ratio: float) -> int:
    """How many patches of a slice are seen when that share is masked; at least one is seen, and one masked."""
    every = math.prod(patch_grid(height, width))
    return min(max(round(every * (1 - ratio)), 1), every - 1)


def _margins(shape: torch.Size) -> tuple[int, int, int, int]:
    """Pixels to be added left, right, at the top and at the bottom, so that patches cover slices (B, 1, H, W)."""
    rows, columns = patch_grid(*shape[2:])
    more_y, more_x = rows * STRIDE - shape[2], columns * STRIDE - shape[3]
    return more_x // 2, more_x - more_x // 2, more_y // 2, more_y - more_y // 2


def random_patches(slices: torch.Tensor, ratio: float, generator: torch.Generator) -> torch.Tensor:
    """Choose the patches that are seen, for each slice on its own.

    Args:
        slices: (B, 1, H, W).
        ratio: Share of the patches that is masked; at least one is seen, and one masked.

    Returns:
        Boolean, (B, 1, rows, columns) of :func:`patch_grid`, on the slices' device.
    """
    rows, columns = patch_grid(*slices.shape[2:])
    kept = seen_patches(*slices.shape[2:], ratio)
    order = torch.rand(len(slices), rows * columns, generator=generator).argsort(dim=1).argsort(dim=1)
    return (order < kept).view(-1, 1, rows, columns).to(slices.device)


def masked_error(guess: torch.Tensor, slices: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Mean squared error over the pixels of the masked patches, then over the slices: a scalar."""
    left, _, top, _ = _margins(slices.shape)
    rows, columns = seen.shape[2] * STRIDE, seen.shape[3] * STRIDE
    everywhere = ActiveSites(seen).at(torch.Size((len(slices), 1, rows, columns)))
    masked = ~everywhere[:, :, top : top + slices.shape[2], left : left + slices.shape[3]]
    error = ((guess - slices) ** 2 * masked).flatten(1).sum(1)
    return (error / masked.flatten(1).sum(1)).mean()
