"""The denoising U-Net: predicts the clean slice from a noisy one, modulated by the timestep and the condition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def zeroed(module: ModuleT) -> ModuleT:
    """The same module with all parameters zero, so that its residual branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class UNet(Protocol):
    """What :func:`down_and_up` walks through: the blocks of a U-Net."""

    @property
    def down(self) -> nn.ModuleList: ...
    @property
    def middle_in(self) -> nn.Module: ...
    @property
    def middle_out(self) -> nn.Module: ...
    @property
    def up(self) -> nn.ModuleList: ...


def down_and_up(
    network: UNet,
    h: torch.Tensor,
    run: Callable[[nn.Module, torch.Tensor], torch.Tensor],
    attend: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Take feature maps the way of a U-Net: down to the coarsest resolution and up again, beside what was seen before.

    Args:
        network: Its blocks.
        h: Feature maps of the first layer, shape (B, C, H, W).
        run: Runs a block on feature maps. Blocks come in the order of ``down``, ``middle_in``, ``middle_out``, ``up``.
        attend: The self-attention at the coarsest resolution.
    """
    skips = [h]
    for block in network.down:
        h = run(block, h)
        skips.append(h)
    h = run(network.middle_out, attend(run(network.middle_in, h)))
    for stage in network.up:
        assert isinstance(stage, nn.ModuleList)
        h = torch.cat([h, skips.pop()], dim=1)
        for block in stage:
            h = run(block, h)
    return h


def beside(noisy: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
    """The noisy slice (B, 1, H, W) and its context (B, C, H, W) as channels of one tensor."""
    return noisy if context is None or not context.shape[1] else torch.cat([noisy, context], dim=1)


class TimestepEmbedding(nn.Module):
    """Sinusoidal embedding of the timestep (Vaswani et al. 2017, section 3.5): (B,) to (B, channels)."""

    frequency: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.register_buffer("frequency", torch.exp(-math.log(10000) * torch.arange(half) / half), persistent=False)

    def forward(self, timestep: torch.Tensor) -> torch.Tensor:
        """Embed timesteps of shape (B,)."""
        phase = timestep.float()[:, None] * self.frequency
        return torch.cat([phase.cos(), phase.sin()], dim=1)


class ResidualBlock(nn.Module):
    """Residual block with feature-wise linear modulation (FiLM) by the embedding.

    ``h = Conv(SiLU(GN(x)))``; ``(gamma, beta) = Linear(SiLU(e))``; ``h = Conv0(SiLU(GN(h) (1 + gamma) + beta))``;
    the result is ``h + skip(x)``. ``resample`` ("down", "up" or None) changes the resolution of both branches.
    """

    def __init__(self, inputs: int, outputs: int, embedding: int, groups: int, resample: str | None = None) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(groups, inputs)
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.norm_out = nn.GroupNorm(groups, outputs)
        self.conv_out = zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.activation = nn.SiLU()
        resamplers = {"down": nn.AvgPool2d(2), "up": nn.Upsample(scale_factor=2, mode="nearest"), None: nn.Identity()}
        self.resample = resamplers[resample]

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Feature maps (B, inputs, H, W), and the embedding (B, E), to feature maps (B, outputs, H', W')."""
        h = self.conv_in(self.resample(self.activation(self.norm_in(x))))
        gamma, beta = self.modulation(self.activation(embedding))[:, :, None, None].chunk(2, dim=1)
        h = self.conv_out(self.activation(self.norm_out(h) * (1 + gamma) + beta))
        return h + self.skip(self.resample(x))


class SelfAttention(nn.Module):
    """Attention of each pixel to all of its slice (Vaswani et al. 2017); the weights have the names of MONAI's.

    Args:
        channels: Of the feature maps.
        heads: Number of heads, which divides the channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.out_proj = nn.Linear(channels, channels)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pixels (B, H W, channels) to the same shape."""
        parts = (project(x) for project in (self.to_q, self.to_k, self.to_v))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
        return self.out_proj((weights @ v).transpose(1, 2).flatten(2))


class SpatialAttention(nn.Module):
    """Residual :class:`SelfAttention` of normalized feature maps; heads have ``head_channels`` channels."""

    def __init__(self, channels: int, head_channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.attn = SelfAttention(channels, channels // head_channels)
        zeroed(self.attn.out_proj)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps (B, channels, H, W) to the same shape."""
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.attn(pixels).transpose(1, 2).reshape(x.shape)


class Denoiser(nn.Module):
    """FiLM-conditioned U-Net that predicts x_0 directly.

    Args:
        condition: Length of the condition vector from the encoder.
        base: Channels at full resolution.
        multipliers: Channels of each resolution as multiples of ``base``.
        blocks: Residual blocks of each resolution on the way down; the way up has one more.
        head_channels: Channels of an attention head; self-attention stands only at the coarsest resolution.
        groups: Groups of the group normalization.
        patch: Side of the pixel blocks that become channels before the first layer (1: none). 2 makes a network about
            four times cheaper at nearly the same detail.
        context: Channels that it sees beside the noisy slice.
    """

    def __init__(
        self,
        condition: int,
        base: int = 128,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 3,
        head_channels: int = 64,
        groups: int = 32,
        patch: int = 1,
        context: int = 0,
    ) -> None:
        super().__init__()
        hidden, widths = 4 * base, [base * m for m in multipliers]
        embedding = 2 * hidden
        self.divisor = patch * 2 ** (len(widths) - 1)
        self.embed_level = nn.Sequential(
            TimestepEmbedding(base), nn.Linear(base, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
        )
        self.embed_condition = nn.Sequential(nn.Linear(condition, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.to_patches, self.from_patches = nn.PixelUnshuffle(patch), nn.PixelShuffle(patch)
        self.stem = nn.Conv2d((1 + context) * patch**2, base, 3, padding=1)

        self.down = nn.ModuleList()
        channels, skips = base, [base]
        for index, width in enumerate(widths):
            for _ in range(blocks):
                self.down.append(ResidualBlock(channels, width, embedding, groups))
                channels = width
                skips.append(channels)
            if index < len(widths) - 1:
                self.down.append(ResidualBlock(channels, channels, embedding, groups, "down"))
                skips.append(channels)

        self.middle_in = ResidualBlock(channels, channels, embedding, groups)
        self.attention = SpatialAttention(channels, head_channels, groups)
        self.middle_out = ResidualBlock(channels, channels, embedding, groups)

        self.up = nn.ModuleList()
        for index, width in reversed(list(enumerate(widths))):
            for block in range(blocks + 1):
                layers = nn.ModuleList([ResidualBlock(channels + skips.pop(), width, embedding, groups)])
                channels = width
                if index > 0 and block == blocks:
                    layers.append(ResidualBlock(channels, channels, embedding, groups, "up"))
                self.up.append(layers)
        self.head = nn.Sequential(
            nn.GroupNorm(groups, channels), nn.SiLU(), zeroed(nn.Conv2d(channels, patch**2, 3, padding=1))
        )

    def forward(
        self, noisy: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Predict the clean slice.

        Args:
            noisy: x_t, shape (B, 1, H, W); H and W are multiples of ``divisor``.
            timestep: t in 1..1000, shape (B,).
            condition: Features of the clean slice from the encoder, shape (B, condition).
            context: What else is known of the slice, shape (B, context, H, W); None for a network without context.

        Returns:
            The estimate of x_0 in [-1, 1] (not clamped), shape (B, 1, H, W).
        """
        embedding = torch.cat([self.embed_level(timestep), self.embed_condition(condition)], dim=1)
        h = self.stem(self.to_patches(beside(noisy, context)))
        h = down_and_up(self, h, lambda block, h: block(h, embedding), self.attention)
        return self.from_patches(self.head(h))
