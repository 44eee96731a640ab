"""The encoder on masked slices, as if the masked patches were not there: sparse convolution by masking.

After SparK (Tian et al. 2023): a convolutional network that is given slices with patches blacked out would let the
black leak into its features, layer by layer. So whatever a layer writes to a site of a masked patch is set back to
zero, and batch normalization takes its statistics from the other, the active sites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from conddiffusion_uad.model.residual_network import ResidualNetwork

STRIDE = 32  # of the residual network in all: the side of a patch


@dataclass(frozen=True)
class ActiveSites:
    """Which patches of a batch are seen, at any resolution.

    Attributes:
        patches: Boolean, (B, 1, h, w), true for the patches that are seen.
    """

    patches: torch.Tensor

    def at(self, size: torch.Size) -> torch.Tensor:
        """The same as a mask for features of a shape (B, C, H, W), boolean (B, 1, H, W)."""
        rows, columns = size[2] // self.patches.shape[2], size[3] // self.patches.shape[3]
        return self.patches.repeat_interleave(rows, 2).repeat_interleave(columns, 3)


class SparseLayers:
    """Makes the max-pooling and batch-normalization layers of a network work on active sites only.

    A convolution that is followed by batch normalization needs nothing of its own: the normalization reads the active
    sites and leaves zero at all others. The layers keep their class and their names, so the network's weights do too.

    Each normalization gets two hooks. The one before it takes the pixels of the active sites out of the features, and
    notes which they are; the one behind it puts the normalized pixels back there. Layers run one after another, so that
    the note of one is read before the next overwrites it.

    Args:
        network: Changed in place. Its convolutions have no bias, or a normalization behind them.

    Attributes:
        sites: Which are active; to be set before the network runs.
    """

    def __init__(self, network: nn.Module) -> None:
        self.sites = ActiveSites(torch.zeros(0, 1, 1, 1, dtype=torch.bool))
        self._active = torch.zeros(0)  # the note: boolean (B, H, W)
        for module in network.modules():
            if isinstance(module, nn.MaxPool2d):
                module.register_forward_hook(self._cover)
            elif isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.register_forward_pre_hook(self._take_out)
                module.register_forward_hook(self._put_back)

    def _cover(self, _: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        """Pooled features (B, C, H, W) with zeros at the masked sites, into which the pooling may reach."""
        return output * self.sites.at(output.shape)

    def _take_out(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        """Of features (B, C, H, W) the active pixels, as a batch of images of one pixel, (pixels, C, 1, 1)."""
        (features,) = inputs
        self._active = self.sites.at(features.shape)[:, 0]
        return (features.permute(0, 2, 3, 1)[self._active][:, :, None, None],)

    def _put_back(self, _: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        """Normalized pixels (pixels, C, 1, 1) where they were, (B, C, H, W), with zeros everywhere else."""
        features = output.new_zeros(*self._active.shape, output.shape[1])
        features[self._active] = output[:, :, 0, 0]
        return features.permute(0, 3, 1, 2)


class SparseEncoder(nn.Module):
    """The residual network up to its last features, without pooling and head.

    Args:
        encoder: Its layers are made sparse and its head is taken off, in place.
    """

    def __init__(self, encoder: ResidualNetwork) -> None:
        super().__init__()
        encoder.fc = None
        self.encoder = encoder
        self._layers = SparseLayers(encoder)

    @property
    def _stages(self) -> tuple[nn.Sequential, ...]:
        return self.encoder.layer1, self.encoder.layer2, self.encoder.layer3, self.encoder.layer4

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the features at strides 4, 8, 16 and 32."""
        return tuple(stage[-1].conv1.out_channels * stage[-1].expansion for stage in self._stages)

    def forward(self, slices: torch.Tensor, sites: ActiveSites) -> list[torch.Tensor]:
        """Features at strides 4, 8, 16 and 32, (B, C, H / stride, W / stride), zero at the masked sites.

        Args:
            slices: (B, 1, H, W); H and W are multiples of :data:`STRIDE`. What stands in masked patches is not seen.
            sites: Patches of :data:`STRIDE` pixels a side, (B, 1, H / STRIDE, W / STRIDE).
        """
        self._layers.sites = sites
        h = self.encoder.conv1(slices * sites.at(slices.shape))
        h = self.encoder.maxpool(self.encoder.act(self.encoder.bn1(h)))
        features = []
        for stage in self._stages:
            h = stage(h)
            features.append(h)
        return features
