"""Normalization and activation of the denoiser with a gradient that is quick on one core and needs less memory.

Between the convolutions most time goes to torch's gradient of group normalization in channels-last layout, which in
bfloat16 takes up to seventeen times as long as that of batch normalization; and most memory to the feature maps that
normalization, modulation and activation each keep for their gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.denoiser import ResidualBlock
from conddiffusion_uad.model.fused import group_statistics

_NOTHING = torch.empty(0)


def pays(device: torch.device, precision: str) -> bool:
    """Whether these layers are the quicker ones: on a CPU, in bfloat16, with one thread.

    Several threads would share each of many small operations, and wait for each other (docs/PERFORMANCE.md).
    """
    return device.type == "cpu" and precision == "bf16" and torch.get_num_threads() == 1


def quickened(model: ConditionedDiffusion) -> ConditionedDiffusion:
    """The same model, changed in place; its weights keep their names."""
    for module in model.denoiser.modules():
        if isinstance(module, ResidualBlock):
            module.__class__ = QuickBlock
    model.denoiser.head.__class__ = QuickHead
    return model


class QuickBlock(ResidualBlock):
    """A residual block that modulates, normalizes and activates in one."""

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        gamma, beta = self.modulation(self.activation(embedding)).float().chunk(2, dim=1)
        weight, bias = self.norm_out.weight, self.norm_out.bias
        h = self.conv_in(self.resample(_plainly(self.norm_in, x)))
        h = _activated(self.norm_out, h, weight * (1 + gamma), bias * (1 + gamma) + beta)
        return self.conv_out(h) + self.skip(self.resample(x))


class QuickHead(nn.Sequential):
    """Normalization, activation and convolution."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm, _, convolution = self
        return convolution(_plainly(norm, x))


def _plainly(norm: nn.GroupNorm, x: torch.Tensor) -> torch.Tensor:
    scale, shift = (values.expand(len(x), -1) for values in (norm.weight, norm.bias))
    return _activated(norm, x, scale, shift)


def _activated(norm: nn.GroupNorm, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    return NormalizedActivation.apply(x, scale, shift, norm.num_groups, norm.eps)


class NormalizedActivation(torch.autograd.Function):
    """``SiLU(GN(x) * scale + shift)``, where GN normalizes groups of channels (Wu and He 2018).

    Once its statistics are known, a group normalization is a batch normalization of each sample with given ones. What
    the gradient of that one lacks is the way through the statistics: ``-(mean(scale dz) + n mean(scale dz n)) / d``,
    with means over a group, ``n`` the normalized input and ``d`` the deviation; both means follow from the gradients of
    shift and scale. Only the input is kept; the normalized maps are made again. One sample after the other, so that it
    is still in the cache for the next operation.

    Takes feature maps (B, C, H, W); ``scale`` and ``shift`` of each channel, (B, C), float32; the number of groups;
    what is added to the variance.
    """

    @staticmethod
    def forward(
        context: Any, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, groups: int, epsilon: float
    ) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        mean, variance = group_statistics(x.split(1), groups)
        context.save_for_backward(x, scale, shift, mean, variance)
        context.groups, context.epsilon = groups, epsilon
        result = torch.empty_like(x)
        for sample, out, *values in zip(x.split(1), result.split(1), mean, variance, scale, shift, strict=True):
            torch.ops.aten.silu.out(functional.batch_norm(sample, *values, eps=epsilon), out=out)
        return result

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, scale, shift, mean, variance = context.saved_tensors
        epsilon, found, result = context.epsilon, [], torch.empty_like(x)
        incoming = gradient.contiguous(memory_format=torch.channels_last).split(1)
        for sample, arriving, m, v, s, b in zip(x.split(1), incoming, mean, variance, scale, shift, strict=True):
            z = functional.batch_norm(sample, m, v, s, b, eps=epsilon)
            dz = torch.ops.aten.silu_backward(arriving, z)
            found.append(
                torch.ops.aten.native_batch_norm_backward(
                    dz, sample, s, m, v, _NOTHING, _NOTHING, False, epsilon, [True, True, True]
                )
            )
        dx, *of_parameters = zip(*found, strict=True)
        of_scale, of_shift = map(torch.stack, of_parameters)
        factor = -torch.rsqrt(variance + epsilon) / x[0, 0].numel()
        along, constant = (_group_means(scale * values, context.groups) * factor for values in (of_scale, of_shift))
        parts = zip(dx, x.split(1), result.split(1), mean, variance, along, constant, strict=True)
        for known, sample, out, *values in parts:
            torch.add(known, functional.batch_norm(sample, *values, eps=epsilon), out=out)
        return result, of_scale, of_shift, None, None


def _group_means(values: torch.Tensor, groups: int) -> torch.Tensor:
    """Of (B, C), each channel with the mean of its group."""
    grouped = values.view(len(values), groups, -1)
    return grouped.mean(dim=2, keepdim=True).expand_as(grouped).reshape(values.shape)
