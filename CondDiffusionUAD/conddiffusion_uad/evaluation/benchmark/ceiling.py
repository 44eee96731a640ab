"""The fastest that this computer convolves: what the network's speed is compared with."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional

from conddiffusion_uad.evaluation.benchmark.timing import least_seconds
from conddiffusion_uad.model.denoiser import Denoiser

TRIALS = 9


def shapes(denoiser: Denoiser, height: int, width: int) -> list[tuple[int, int, int]]:
    """Channels, height and width of the maps at each resolution of a network, for slices of a size."""
    patch, down = denoiser.to_patches.downscale_factor, list(denoiser.down)
    found = [(denoiser.stem.out_channels, height // patch, width // patch)]
    for block in down:
        channels, rows, columns = block.norm_out.num_channels, *found[-1][1:]
        halved = not isinstance(block.resample, (torch.nn.Identity, torch.nn.Upsample))
        found.append((channels, rows // 2, columns // 2) if halved else (channels, rows, columns))
    return list(dict.fromkeys(found))


@torch.inference_mode()
def convolution_rate(
    channels: int, height: int, width: int, batch: int, dtype: torch.dtype, device: torch.device
) -> float:
    """FLOP a second of a 3x3 convolution between equally many channels, in the quickest layout (channels last)."""
    layout = {"dtype": dtype, "device": device}
    x = torch.randn(batch, channels, height, width).to(**layout, memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3).to(**layout, memory_format=torch.channels_last)
    bias = torch.zeros(channels, **layout)
    seconds = least_seconds(lambda: functional.conv2d(x, weight, bias, padding=1), device, TRIALS)
    return 2.0 * 9 * channels**2 * batch * height * width / seconds


def ceiling(denoiser: Denoiser, height: int, width: int, batch: int, dtype: torch.dtype, device: torch.device) -> float:
    """The highest `convolution_rate` among the network's own widths and sizes, FLOP a second."""
    return max(_rates(denoiser, height, width, batch, dtype, device))


def _rates(
    denoiser: Denoiser, height: int, width: int, batch: int, dtype: torch.dtype, device: torch.device
) -> Iterator[float]:
    for shape in shapes(denoiser, height, width):
        yield convolution_rate(*shape, batch, dtype, device)
