"""The image encoder: a residual network that turns the clean slice into one feature vector, the condition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.networks.nets import ResNet
from torch import nn

from conddiffusion_uad.model.slices import Slices

RESNET_50: Mapping[str, Any] = {
    "block": "bottleneck",
    "layers": (3, 4, 6, 3),
    "block_inplanes": (64, 128, 256, 512),
}


GROUPS = 8  # of a group normalization
NORMS: Mapping[str, str | tuple[str, Mapping[str, Any]]] = {
    "batch": "batch",
    "group": ("group", {"num_groups": GROUPS}),
    "layer": ("group", {"num_groups": 1}),  # over channels and pixels of a slice, which is the group of all channels
    "instance": ("instance", {"affine": True}),
}
"""Normalizations of an encoder, as MONAI calls them."""


class ImageEncoder(ResNet):  # type: ignore[misc]  # MONAI is not typed
    """MONAI's residual network, told to look at the image of the slices.

    Args:
        norm: Normalization of all layers; MONAI's own constructor gives it to the first one alone.
        options: Of MONAI's ResNet.
    """

    def __init__(self, norm: str | tuple[str, Mapping[str, Any]], **options: Any) -> None:
        self._norm = norm  # which making the layers asks for
        super().__init__(norm=norm, **options)

    def _make_layer(self, *sizes: Any, **options: Any) -> nn.Sequential:
        layers: nn.Sequential = super()._make_layer(*sizes, **{**options, "norm": self._norm})
        return layers

    def forward(self, slices: Slices) -> torch.Tensor:
        """Features of the image, (B, features)."""
        features: torch.Tensor = super().forward(slices.image)
        return features


class Unconditioned(nn.Module):
    """The encoder of a model without a condition: (B, 1, H, W) to (B, 0)."""

    def forward(self, slices: Slices) -> torch.Tensor:
        """No features, (B, 0)."""
        return slices.image.new_zeros(len(slices), 0)


def build_encoder(config: Mapping[str, Any], features: int) -> ImageEncoder:
    """The encoder F_enc: slices, whose images are (B, 1, H, W) in [0, 1], to features (B, features).

    Args:
        config: ``block`` ("basic" or "bottleneck"), ``layers`` and ``block_inplanes`` of MONAI's ResNet;
            :data:`RESNET_50` is the paper's. And, unless it is "batch", ``norm``: one of :data:`NORMS`.
        features: Length of the condition.
    """
    return ImageEncoder(
        block=config["block"],
        layers=list(config["layers"]),
        block_inplanes=list(config["block_inplanes"]),
        spatial_dims=2,
        n_input_channels=1,
        conv1_t_stride=2,
        bias_downsample=False,
        num_classes=features,
        norm=NORMS[config.get("norm", "batch")],
    )
