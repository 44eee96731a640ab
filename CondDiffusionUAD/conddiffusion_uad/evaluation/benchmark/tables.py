"""Measurements, and what they were made on, as a person reads them."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from conddiffusion_uad.evaluation.benchmark.stages import beside_network

Cell = Callable[[Mapping[str, Any]], str]
_COMMON: Mapping[str, Cell] = {
    "GFLOP": lambda speed: f"{speed['flop'] / 1e9:.2f}",
    "GFLOP/s": lambda speed: f"{speed['flop'] / speed['seconds'] / 1e9:.0f}",
    "ceiling": lambda speed: f"{speed['ceiling'] / 1e9:.0f}",
    "share": lambda speed: f"{speed['share']:.0%}",
    "ratio": lambda speed: f"{speed['ratio']:.2f}",
}
_NETWORK: Mapping[str, Cell] = {
    "ms": lambda speed: f"{1e3 * speed['seconds']:.1f}",
    **_COMMON,
    "error": lambda speed: f"{speed['error']:.1e}",
}
_TRAINING: Mapping[str, Cell] = {
    "batch": lambda speed: str(speed["slices"]),
    "slices/s": lambda speed: f"{speed['slices'] / speed['seconds']:.2f}",
    **_COMMON,
    "waiting": lambda speed: f"{speed['waiting']:.1%}",
}


def machine() -> dict[str, Any]:
    """Processor, threads and versions, as JSON values."""
    return {
        "processor": processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "system": platform.system(),
    }


def processor() -> str:
    """Name of the processor, as well as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def text(found: Mapping[str, Any]) -> str:
    """All that was measured."""
    head = "{processor}, {capability}, {threads} thread(s), torch {torch}".format(**found["machine"])
    parts = [head, *_speeds("The network, for one slice at one timestep", _NETWORK, found.get("networks", []))]
    training = "A training step; waiting: share of the time until its data are there"
    parts += _speeds(training, _TRAINING, found.get("trainings", []))
    for stages in found.get("stages", []):
        parts += _stages(stages)
    return "\n".join(parts)


def _speeds(title: str, columns: Mapping[str, Cell], speeds: list[Mapping[str, Any]]) -> Iterator[str]:
    if not speeds:
        return
    yield f"\n{title}"
    yield f"{'name':16} {'form':12}" + "".join(f" {head:>9}" for head in columns)
    for speed in speeds:
        yield f"{speed['name']:16} {speed['form']:12}" + "".join(f" {cell(speed):>9}" for cell in columns.values())


def _stages(stages: Mapping[str, Any]) -> Iterator[str]:
    memory, runs = stages["peak_memory_mb"], (stages["first"], stages["again"])
    yield f"\nA detection with {stages['bundle']}, seconds and shares; peak memory {memory or 'unknown'} MB"
    yield f"{'stage':12} {'first':>8} {'share':>6} {'again':>8} {'share':>6}"
    for stage in stages["first"]:
        yield f"{stage:12}" + "".join(f" {run[stage]:8.2f} {run[stage] / sum(run.values()):6.1%}" for run in runs)
    yield f"{'in all':12}" + "".join(f" {sum(run.values()):8.2f} {'':6}" for run in runs).rstrip()
    beside = (f"{beside_network(run):.2f}" for run in runs)
    yield "Everything else takes {} times as long as the network, and {} times after that.".format(*beside)
