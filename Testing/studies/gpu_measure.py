"""What a graphics card makes of the reconstruction: slices a second by batch, memory, agreement with the processor.

PYTHONPATH=CondDiffusionUAD python Testing/studies/gpu_measure.py [--device cuda] [--batches 16 32 64] [--slices 80]

The brain is synthetic: speed and agreement do not depend on what it shows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.benchmark.brain import synthetic_brain
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.run import restore, score
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.model.precision import DTYPES


def speeds(bundle: Bundle, brain: Volume, batches: Sequence[int]) -> Iterator[list[str]]:
    """For each batch: its size, slices a second over all noise levels, and the peak memory of the device in MB."""
    device, contrast = bundle.model.device, bundle.config.contrasts[0]
    for batch in batches:
        restore(bundle, brain, contrast, batch=batch)  # sets things up
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        began = time.perf_counter()
        restored = restore(bundle, brain, contrast, batch=batch)
        seconds = time.perf_counter() - began
        passes = int(brain.mask.any(axis=(1, 2)).sum()) * len(restored.samples)
        memory = f"{torch.cuda.max_memory_allocated(device) / 1e6:.0f}" if device.type == "cuda" else "-"
        yield [str(restored.batch), f"{passes / seconds:.1f}", memory]


def agreement(device: torch.device, brain: Volume) -> Iterator[list[str]]:
    """For each number format: how far reconstruction and score on a device are from those of the processor in fp32."""
    plain = bundles.load("residual").to("cpu", "fp32")
    contrast = plain.config.contrasts[0]
    expected = score(plain, brain, contrast)
    for precision in DTYPES:
        found = score(bundles.load("residual").to(device, precision), brain, contrast)
        away = found.restored.mean - expected.restored.mean
        relative = np.linalg.norm(away) / np.linalg.norm(expected.restored.mean)
        together = np.corrcoef(found.score[found.mask], expected.score[found.mask])[0, 1]
        yield [precision, f"{relative:.1e}", f"{together:.5f}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--slices", type=int, default=80, help="of the brain (default: %(default)s)")
    options = parser.parse_args(arguments)
    device = choose(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    bundle = bundles.load("residual").to(device, "auto")
    grid = bundle.config.grid
    brain = Volume(*synthetic_brain(grid.size, options.slices), replace(grid, size=(*grid.size[:2], options.slices)))
    print(f"{name}, torch {torch.__version__}, {bundle.precision}")
    show(("batch", "slices a second", "peak memory, MB"), speeds(bundle, brain, options.batches))
    show(("precision", "difference of reconstructions", "r of scores"), agreement(device, brain))


def show(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    print()
    for cells in (heads, ["---"] * len(heads), *rows):
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
