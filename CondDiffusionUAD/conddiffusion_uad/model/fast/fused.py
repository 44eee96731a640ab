"""Layers of the denoiser in the form in which they compute fastest, without gradients.

Convolutions take 85 % of the time of the plain network. What is left is spent on reading and writing feature maps, so
each layer here passes over them as rarely as it can, in the layout that convolutions want (channels last).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from conddiffusion_uad.model.denoiser import ResidualBlock

# Below this many pixels torch's group normalization of maps in channels-last layout is up to nine times slower a pixel
# than above; statistics by channel are quick at any size.
FEW_PIXELS = 1024
# Which of the three taps of a filter on doubled rows fall on which row, as (a, row, tap): row 2i + a of the output sees
# the rows i - 1 + a and i + a of those before.
_DOUBLED = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])


def normalized_activation(
    x: torch.Tensor, groups: int, scale: torch.Tensor, shift: torch.Tensor, epsilon: float
) -> torch.Tensor:
    """``SiLU(GN(x) * scale + shift)``, where GN normalizes groups of channels (Wu and He 2018).

    On a CPU one sample after the other, so that it is still in the cache when the activation comes.

    Args:
        x: Feature maps (B, C, H, W) in channels-last layout.
        groups: Number of groups of channels.
        scale, shift: Those of each channel, shape (B, C), float32.
        epsilon: Added to the variance.
    """
    normalized = _sample_by_sample if x.device.type == "cpu" else _at_once
    return normalized(x, groups, scale, shift, epsilon)


def _at_once(x: torch.Tensor, groups: int, scale: torch.Tensor, shift: torch.Tensor, epsilon: float) -> torch.Tensor:
    normal = functional.group_norm(x, groups, eps=epsilon)
    scale, shift = (values.to(x.dtype)[:, :, None, None] for values in (scale, shift))
    return functional.silu(torch.addcmul(shift, normal, scale), inplace=True)


def _sample_by_sample(
    x: torch.Tensor, groups: int, scale: torch.Tensor, shift: torch.Tensor, epsilon: float
) -> torch.Tensor:
    result, samples = torch.empty_like(x), x.split(1)
    of_samples = zip(scale, shift, strict=True)
    if x.shape[2] * x.shape[3] >= FEW_PIXELS:
        normal = (
            functional.group_norm(s, groups, *given, epsilon) for s, given in zip(samples, of_samples, strict=True)
        )
    else:
        statistics = zip(*_statistics(samples, groups), of_samples, strict=True)
        normal = (
            functional.batch_norm(s, mean, variance, *given, eps=epsilon)
            for s, (mean, variance, given) in zip(samples, statistics, strict=True)
        )
    for values, out in zip(normal, result.split(1), strict=True):  # each while it is still in the cache
        torch.ops.aten.silu.out(values, out=out)
    return result


def _statistics(samples: Sequence[torch.Tensor], groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of the group that each channel is in, shape (B, C) each.

    torch is quick at the statistics of single channels, also of few pixels. Those of a group follow from them by the
    law of total variance: the mean of the channels' variances plus the variance of their means.
    """
    channels = samples[0].shape[1]
    running = torch.zeros(2, channels)  # not looked at with momentum 0; as it is float32, so are the statistics
    found = [torch.batch_norm_update_stats(sample, *running, 0.0) for sample in samples]  # type: ignore[call-arg]
    means, variances = (torch.stack(values).view(len(samples), groups, -1) for values in zip(*found, strict=True))
    between, mean = torch.var_mean(means, dim=2, correction=0, keepdim=True)
    variance = variances.mean(dim=2, keepdim=True) + between
    return mean.expand_as(means).reshape(-1, channels), variance.expand_as(means).reshape(-1, channels)


class DoubledConvolution(nn.Module):
    """A 3x3 convolution of maps whose pixels were doubled along both axes, computed before they are doubled.

    Of the three taps along an axis, two always fall on copies of one pixel; so each of the four pixels that come from
    one is a 2x2 convolution of the pixels before, with taps added up. That makes four ninths of the products.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        assert convolution.bias is not None
        self.outputs = convolution.out_channels
        weight = convolution.weight.detach().float()
        taps = _DOUBLED.to(weight.device)
        weight = torch.einsum("akr,bls,oirs->aboikl", taps, taps, weight)
        self.convolution = nn.Conv2d(convolution.in_channels, 4 * self.outputs, 2, padding=1)
        self.convolution.weight = nn.Parameter(weight.flatten(0, 2))
        self.convolution.bias = nn.Parameter(convolution.bias.detach().float().repeat(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps (B, C, H, W) to (B, outputs, 2 H, 2 W)."""
        batch, _, height, width = x.shape
        parts = self.convolution(x)
        result: torch.Tensor = parts.new_empty(batch, 2 * height, 2 * width, self.outputs)
        result = result.permute(0, 3, 1, 2)  # channels last
        for part in range(4):
            row, column = divmod(part, 2)  # of the four pixels that come from one
            channels = slice(part * self.outputs, (part + 1) * self.outputs)
            result[:, :, row::2, column::2] = parts[:, channels, row : row + height, column : column + width]
        return result


class FusedBlock(nn.Module):
    """A :class:`ResidualBlock` whose modulation is already part of scale and shift of its second normalization."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.norm_in = block.norm_in.float()
        self.norm_out = block.norm_out.float()
        self.doubles = isinstance(block.resample, nn.Upsample)
        self.resample, self.skip = block.resample, block.skip
        self.conv_in = DoubledConvolution(block.conv_in) if self.doubles else block.conv_in
        self.conv_out = block.conv_out

    def forward(self, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """``x`` (B, inputs, H, W) in channels-last layout; ``scale`` and ``shift`` (B, outputs) as float32."""
        first, second = self.norm_in, self.norm_out
        weight, bias = (values.expand(len(x), -1) for values in (first.weight, first.bias))
        h = normalized_activation(x, first.num_groups, weight, bias, first.eps)
        h = self.conv_in(h if self.doubles else self.resample(h))
        h = normalized_activation(h, second.num_groups, scale, shift, second.eps)
        return self.conv_out(h).add_(self.skip(self.resample(x)))


def folded_modulation(block: ResidualBlock) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (2 C, E) and bias (2 C) of the linear layer from the activated embedding to ``scale`` and ``shift``.

    ``(GN weight + bias) (1 + gamma) + beta`` is ``GN scale + shift`` with ``scale = weight (1 + gamma)`` and
    ``shift = bias (1 + gamma) + beta``, both linear in gamma and beta.
    """
    weight, bias = block.norm_out.weight.detach().float(), block.norm_out.bias.detach().float()
    gamma, beta = block.modulation.weight.detach().float().chunk(2)
    gamma_0, beta_0 = block.modulation.bias.detach().float().chunk(2)
    matrix = torch.cat([weight[:, None] * gamma, bias[:, None] * gamma + beta])
    return matrix, torch.cat([weight * (1 + gamma_0), bias * (1 + gamma_0) + beta_0])
