"""The image encoder: a residual network that turns the clean slice into one feature vector, the condition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from conddiffusion_uad.model.residual_network import ResidualNetwork
from conddiffusion_uad.model.slices import Slices

RESNET_50: Mapping[str, Any] = {
    "block": "bottleneck",
    "layers": (3, 4, 6, 3),
    "block_inplanes": (64, 128, 256, 512),
}


class ImageEncoder(ResidualNetwork):
    """A residual network that is told to look at the image of the slices."""

    def forward(self, slices: Slices) -> torch.Tensor:
        """Features of the image, (B, features)."""
        return self.features(slices.image)


class Unconditioned(nn.Module):
    """The encoder of a model without a condition: (B, 1, H, W) to (B, 0)."""

    def forward(self, slices: Slices) -> torch.Tensor:
        """No features, (B, 0)."""
        return slices.image.new_zeros(len(slices), 0)


def build_encoder(config: Mapping[str, Any], features: int) -> ImageEncoder:
    """The encoder F_enc: slices, whose images are (B, 1, H, W) in [0, 1], to features (B, features).

    Args:
        config: ``block`` ("basic" or "bottleneck"), ``layers`` and ``block_inplanes`` (widths), as MONAI's ResNet
            calls them; :data:`RESNET_50` is the paper's. And, unless it is "batch", ``norm``: one of
            :data:`~conddiffusion_uad.model.residual_network.NORMS`.
        features: Length of the condition.
    """
    norm = config.get("norm", "batch")
    return ImageEncoder(config["block"], config["layers"], config["block_inplanes"], features, norm)
