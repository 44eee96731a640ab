"""What a graphics card makes of the bundles' networks: slices a second by batch, memory, agreement with the processor.

PYTHONPATH=CondDiffusionUAD python Testing/studies/gpu_measure.py [--device cuda] [--bundles residual learned]
    [--batches 16 32 64] [--slices 80]

The brain is synthetic: speed and agreement do not depend on what it shows. The networks of learned maps are measured
beside the denoiser, with its reconstructions, each in both its forms at once: plain and mirrored.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.benchmark.brain import synthetic_brain
from conddiffusion_uad.method.anomaly_map.learned import Learned, LearnedMap, LearnedWeights, whole_place
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.run import restore
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.model.precision import DTYPES
from conddiffusion_uad.preprocessing.resampling import with_spacing

SPEED, AGREEMENT = ("slices a second", "peak memory, MB"), ("what", "relative difference", "r")


def speeds(device: torch.device, batches: Sequence[int], work: Callable[[int], tuple[int, int]]) -> Iterator[list[str]]:
    """For each batch: its size, slices a second, and the peak memory of the device in MB.

    Args:
        work: Does it all in such batches, or in smaller ones, and says how many slices it were, and the batch.
    """
    for batch in batches:
        work(batch)  # sets things up
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        began = time.perf_counter()
        slices, tried = work(batch)
        seconds = time.perf_counter() - began
        memory = f"{torch.cuda.max_memory_allocated(device) / 1e6:.0f}" if device.type == "cuda" else "-"
        yield [str(tried), f"{slices / seconds:.1f}", memory]


def reconstructed(bundle: Bundle, brain: Volume, batch: int) -> tuple[int, int]:
    """Do the passes of the denoiser, over all noise levels: how many, and the batch for which the memory sufficed."""
    restored = restore(bundle, brain, bundle.config.contrasts[0], batch=batch)
    return int(brain.mask.any(axis=(1, 2)).sum()) * len(restored.samples), restored.batch


def scored(bundle: Bundle, name: str, slices: int, batch: int) -> tuple[int, int]:
    """Do those of a learned map: how many slices, and the batch."""
    return len(learned(bundle, name, slices, batch)), batch


def brain_of(bundle: Bundle, slices: int) -> Volume:
    """A synthetic brain on a bundle's grid."""
    grid = bundle.config.grid
    size = (*grid.size[:2], min(slices, grid.size[2]))
    return Volume(*synthetic_brain(grid.size, size[2]), replace(grid, size=size))


def learned(bundle: Bundle, name: str, slices: int, batch: int) -> np.ndarray:
    """What the network ``name`` of a learned map makes of a synthetic brain: probabilities (z, y, x)."""
    weights = bundle.model.networks[name]
    grid = with_spacing(bundle.config.grid, Learned().spacing)
    volume, mask = synthetic_brain(grid.size, min(slices, grid.size[2]))
    samples = np.repeat(0.9 * volume[None, :, ::2, ::2], 2, axis=0)
    made = LearnedMap(weights.network, whole_place(grid, weights.priors), batch)
    return made(volume, mask, bundle.config.contrasts[0], samples, np.arange(len(volume)))


def maps(bundle: Bundle) -> list[str]:
    """Names of the bundle's networks that are learned maps."""
    return [name for name, network in bundle.model.networks.items() if isinstance(network, LearnedWeights)]


def agreement(plain: Bundle, device: torch.device, slices: int) -> Iterator[list[str]]:
    """How far reconstructions, in each number format, and maps on a device are from those of the processor in fp32."""
    brain, expected = brain_of(plain, slices), plain.to("cpu", "fp32")
    mean = restore(expected, brain, plain.config.contrasts[0]).mean
    for precision in DTYPES:
        found = plain.to(device, precision)
        yield row(f"reconstruction, {precision}", restore(found, brain, plain.config.contrasts[0]).mean, mean)
    for name in maps(expected):
        yield row(name, *(learned(each, name, slices, 4) for each in (found, expected)))


def row(what: str, found: np.ndarray, expected: np.ndarray) -> list[str]:
    """A row of the table of agreement, of values that are 0 outside the brain."""
    away = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    inside = expected > 0
    return [what, f"{away:.1e}", f"{np.corrcoef(found[inside], expected[inside])[0, 1]:.5f}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--bundles", nargs="+", default=["residual", "learned"])
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--slices", type=int, default=80, help="of the brain (default: %(default)s)")
    options = parser.parse_args(arguments)
    device, slices = choose(options.device), options.slices
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    for bundle in map(bundles.load, options.bundles):
        moved = bundle.to(device, "auto")
        print(f"{bundle.name} on {name}, torch {torch.__version__}, {moved.precision}")
        work = partial(reconstructed, moved, brain_of(bundle, slices))
        show(("denoiser, batch", *SPEED), speeds(device, options.batches, work))
        for network in maps(moved)[:1]:  # all have one size
            work = partial(scored, moved, network, slices)
            show((f"{network}, batch", *SPEED), speeds(device, options.batches, work))
        show(AGREEMENT, agreement(bundle, device, slices))


def show(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    print()
    for cells in (heads, ["---"] * len(heads), *rows):
        print("| " + " | ".join(cells) + " |", flush=True)
    print()


if __name__ == "__main__":
    main()
