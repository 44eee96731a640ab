"""How fast something computes, beside the fastest that this computer convolves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from conddiffusion_uad.model.denoiser import Denoiser

TRIALS = 9  # of a convolution, of which the quickest counts


@dataclass(frozen=True)
class Speed:
    """Of a form of a network for one slice at one timestep, or of a training step in a number format.

    Attributes:
        name: Of the bundle or recipe; "paper" for the published size.
        form: "plain fp32", "fast fp32", "fast bf16"; of a training "fp32" or "bf16".
        slices: At once.
        seconds: Median.
        flop: Counted in convolutions and matrix products; of a training forward and backward.
        ceiling: FLOP a second of the quickest 3x3 convolution of the network's sizes in this number format.
        ratio: How many times as fast as the first form: median over pairs.
        error: Of a network, relative difference to the plain form's estimate (root mean squares).
        waiting: Of a training, share of the time in which the data of a step were waited for.
    """

    name: str
    form: str
    slices: int
    seconds: float
    flop: float
    ceiling: float
    ratio: float
    error: float | None = None
    waiting: float | None = None

    @property
    def share(self) -> float:
        """Of the ceiling that is reached."""
        return self.flop / self.seconds / self.ceiling

    def to_json(self) -> dict[str, Any]:
        """What is known of it, and the share."""
        return {key: value for key, value in asdict(self).items() if value is not None} | {"share": self.share}


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one run.

    Those that pass until it is done. With one thread on a CPU they are those that the thread computed, so that other
    programs on the computer do not lengthen them; of several threads the system knows this too roughly.
    """
    clock = time.thread_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    _wait(device)
    begin = clock()
    work()
    _wait(device)
    return clock() - begin


def in_turns(variants: Sequence[Callable[[], object]], device: torch.device, rounds: int) -> list[list[float]]:
    """Seconds of each variant in each round; in a round all run one after the other, so that they can be paired."""
    for work in variants:
        work()
    return [[seconds_of(work, device) for work in variants] for _ in range(rounds)]


def _wait(device: torch.device) -> None:
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()


def counted_flop(work: Callable[[], object]) -> int:
    """FLOP of the convolutions and matrix products of a computation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what other threads compute would not be seen
    try:
        with FlopCounterMode(display=False) as counter:
            work()
    finally:
        torch.set_num_threads(threads)
    return counter.get_total_flops()


def shapes(denoiser: Denoiser, height: int, width: int) -> list[tuple[int, int, int]]:
    """Channels, height and width of the maps at each resolution of a network, for slices of a size."""
    patch = denoiser.to_patches.downscale_factor
    found = [(denoiser.stem.out_channels, height // patch, width // patch)]
    for block in denoiser.down:
        channels, rows, columns = block.norm_out.num_channels, *found[-1][1:]
        halved = not isinstance(block.resample, (torch.nn.Identity, torch.nn.Upsample))
        found.append((channels, rows // 2, columns // 2) if halved else (channels, rows, columns))
    return list(dict.fromkeys(found))


@torch.inference_mode()
def ceiling(denoiser: Denoiser, height: int, width: int, batch: int, dtype: torch.dtype, device: torch.device) -> float:
    """The highest rate, FLOP a second, of 3x3 convolutions of the network's own widths and sizes, channels last."""
    best, layout = 0.0, {"dtype": dtype, "device": device, "memory_format": torch.channels_last}
    for channels, rows, columns in shapes(denoiser, height, width):
        x = torch.randn(batch, channels, rows, columns).to(**layout)
        weight, bias = torch.randn(channels, channels, 3, 3).to(**layout), torch.zeros(channels, dtype=dtype).to(device)

        def convolve(x: torch.Tensor = x, weight: torch.Tensor = weight, bias: torch.Tensor = bias) -> torch.Tensor:
            return functional.conv2d(x, weight, bias, padding=1)

        least = min(seconds for (seconds,) in in_turns([convolve], device, TRIALS))
        best = max(best, 2.0 * 9 * channels**2 * batch * rows * columns / least)
    return best
