"""The network of the learned anomaly map: a U-Net over slices, its trunk at half size and a light level at full size.

Full-size channels (1 mm) enter the trunk (2 mm) by pixel unshuffling, which keeps every value; the trunk's output comes
back by pixel shuffling and meets one convolution of the full-size channels, so that small lesions keep their outline.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional


class LearnedMapNetwork(nn.Module):
    """Logits of "this voxel is anomalous" from a slice and what is known about it.

    Args:
        fine: Channels at full size.
        coarse: Channels at half size.
        widths: Channels of the trunk's levels, from half size down; each level halves the size.
        detail: Channels of the level at full size.
        groups: Of the group normalization.
    """

    def __init__(
        self,
        fine: int,
        coarse: int,
        widths: Sequence[int] = (24, 40, 64, 128, 160),
        detail: int = 8,
        groups: int = 8,
    ) -> None:
        super().__init__()
        self.config = {"fine": fine, "coarse": coarse, "widths": list(widths), "detail": detail, "groups": groups}
        inputs = [4 * fine + coarse, *widths[:-1]]
        self.down = nn.ModuleList(_block(a, b, groups) for a, b in zip(inputs, widths, strict=True))
        pairs = list(zip(widths[1:], widths[:-1], strict=True))[::-1]
        self.up = nn.ModuleList(nn.Conv2d(low, high, 1) for low, high in pairs)
        self.merge = nn.ModuleList(_block(2 * high, high, groups) for _, high in pairs)
        self.to_fine = nn.Conv2d(widths[0], 4 * detail, 1)
        self.detail = nn.Sequential(nn.Conv2d(fine, detail, 3, padding=1), nn.SiLU())
        last = nn.Conv2d(detail, 1, 1)
        assert last.bias is not None
        nn.init.constant_(last.bias, -3.0)  # anomalies are rare
        self.head = nn.Sequential(nn.Conv2d(2 * detail, detail, 3, padding=1), nn.SiLU(), last)

    @property
    def divisor(self) -> int:
        """Height and width of the full-size channels must be multiples of this."""
        return 2 ** len(self.down)

    def forward(self, fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """Score slices.

        Args:
            fine: (B, fine, H, W); H and W multiples of :attr:`divisor`.
            coarse: (B, coarse, H / 2, W / 2).

        Returns:
            Logits, float32 (B, 1, H, W).
        """
        h, skips = torch.cat([functional.pixel_unshuffle(fine, 2), coarse], 1), []
        for level, block in enumerate(self.down):
            h = block(functional.max_pool2d(h, 2) if level else h)
            skips.append(h)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            h = functional.interpolate(up(h), scale_factor=2, mode="nearest")
            h = merge(torch.cat([skips.pop(), h], 1))
        shuffled = functional.pixel_shuffle(self.to_fine(h), 2)
        return self.head(torch.cat([self.detail(fine), shuffled], 1)).float()


def _block(inputs: int, outputs: int, groups: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.GroupNorm(groups, outputs), nn.SiLU()]
    return nn.Sequential(*layers)
