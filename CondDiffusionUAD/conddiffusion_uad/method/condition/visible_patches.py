"""A condition from the visible patches of a slice alone, as the encoder of a masked autoencoder has it.

Paper: Xu et al. 2024, "MAEDiff: Masked Autoencoder-enhanced Diffusion Models for Unsupervised Anomaly Detection in
Brain Images", arXiv:2401.10561; the encoder is that of masked autoencoders (He et al. 2021, arXiv:2111.06377).

The slice is cut into square patches. Those that show brain are tokens, a linear map of their pixels plus the sines and
cosines of their place; the others do not exist. A transformer lets them look at each other and at a token that stands
for the slice, whose last state becomes the condition. Hidden patches are such that show no brain: see
``Slices.hiding``.

What differs: the features are one vector for the slice, as everywhere here, where the paper adds a feature to each
place; and there is no loss of the autoencoder's own, the encoder learns with the denoiser.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from conddiffusion_uad.method.checks import require_whole
from conddiffusion_uad.model.slices import Slices

_MOST = {"features": 2048, "side": 64, "width": 1024, "depth": 24, "heads": 32}
WAVELENGTH = 10_000.0  # of the slowest sine, patches


@dataclass(frozen=True)
class VisiblePatches:
    """Features of the patches that show brain, from a small transformer.

    Attributes:
        features: Length of the condition.
        side: Of a patch in pixels.
        width: Of a token, a multiple of 4 and of ``heads``.
        depth: Layers.
        heads: Of the attention in each.
    """

    features: int = 128
    side: int = 8
    width: int = 64
    depth: int = 3
    heads: int = 4

    def __post_init__(self) -> None:
        require_whole(self, **_MOST)
        if self.width % 4 or self.width % self.heads:
            raise ValueError("width is a multiple of 4 and of heads")

    def build(self) -> PatchEncoder:
        """The network with new weights."""
        return PatchEncoder(self.features, self.side, self.width, self.depth, self.heads)


class PatchEncoder(nn.Module):
    """See :class:`VisiblePatches`."""

    def __init__(self, features: int, side: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.side = side
        self.embed = nn.Linear(side**2, width)
        self.whole = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, features)

    def forward(self, slices: Slices) -> torch.Tensor:
        """Features (B, features); of a slice without brain, those of the token that stands for it alone."""
        pixels, shown = self._cut(slices.image), self._cut(slices.brain.to(slices.image.dtype)).any(dim=2)
        rows, columns = (-(-extent // self.side) for extent in slices.image.shape[2:])
        tokens = self.embed(pixels) + places(rows, columns, self.embed.out_features).to(pixels)
        tokens = torch.cat([self.whole.expand(len(slices), -1, -1).to(tokens), tokens], dim=1)
        ignored = torch.cat([shown.new_zeros(len(slices), 1), ~shown], dim=1)
        features: torch.Tensor = self.head(self.layers(tokens, src_key_padding_mask=ignored)[:, 0])
        return features

    def _cut(self, images: torch.Tensor) -> torch.Tensor:
        """Patches of images (B, 1, H, W), row by row, (B, patches, side^2); 0 beyond the images."""
        bottom, right = (-extent % self.side for extent in images.shape[2:])
        padded = functional.pad(images, (0, right, 0, bottom))
        return functional.unfold(padded, self.side, stride=self.side).transpose(1, 2)


def places(rows: int, columns: int, width: int) -> torch.Tensor:
    """Sines and cosines of the places of patches, row by row, (rows * columns, width)."""
    quarter = width // 4
    frequency = torch.exp(-math.log(WAVELENGTH) * torch.arange(quarter) / quarter)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    phases = [values.reshape(-1, 1) * frequency for values in (y, x)]
    return torch.cat([part for phase in phases for part in (phase.sin(), phase.cos())], dim=1)
