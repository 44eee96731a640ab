"""Measurements as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_NETWORK = "{:16} {:12} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6} {:>9}"
_TRAINING = "{:16} {:12} {:>6} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6} {:>8}"


def text(found: Mapping[str, Any]) -> str:
    """All that was measured."""
    machine = found["machine"]
    head = "{processor}, {capability}, {threads} thread(s), torch {torch}".format(**machine)
    parts = [head, *_network(found.get("networks", [])), *_training(found.get("trainings", []))]
    for stages in found.get("stages", []):
        parts += _stages(stages)
    return "\n".join(parts)


def _network(speeds: list[Mapping[str, Any]]) -> Iterator[str]:
    if speeds:
        yield "\nThe network, for one slice at one timestep"
        columns = ("ms", "GFLOP", "GFLOP/s", "ceiling", "share", "ratio", "error")
        yield _NETWORK.format("network", "form", *columns)
    for speed in speeds:
        yield _NETWORK.format(
            speed["network"],
            speed["form"],
            f"{1e3 * speed['seconds']:.1f}",
            f"{speed['flop'] / 1e9:.2f}",
            f"{speed['flop'] / speed['seconds'] / 1e9:.0f}",
            f"{speed['ceiling'] / 1e9:.0f}",
            f"{speed['share']:.0%}",
            f"{speed['ratio']:.2f}",
            f"{speed['error']:.1e}",
        )


def _training(speeds: list[Mapping[str, Any]]) -> Iterator[str]:
    if speeds:
        yield "\nA training step; waiting: share of the time until its data are there"
        columns = ("batch", "slices/s", "GFLOP", "GFLOP/s", "ceiling", "share", "ratio", "waiting")
        yield _TRAINING.format("recipe", "format", *columns)
    for speed in speeds:
        yield _TRAINING.format(
            speed["recipe"],
            speed["precision"],
            speed["slices"],
            f"{speed['slices'] / speed['seconds']:.2f}",
            f"{speed['flop'] / 1e9:.1f}",
            f"{speed['flop'] / speed['seconds'] / 1e9:.0f}",
            f"{speed['ceiling'] / 1e9:.0f}",
            f"{speed['share']:.0%}",
            f"{speed['ratio']:.2f}",
            f"{speed['waiting']:.1%}",
        )


def _stages(stages: Mapping[str, Any]) -> Iterator[str]:
    memory = stages["peak_memory_mb"]
    yield f"\nA detection with {stages['bundle']}, seconds; peak memory {memory or 'unknown'} MB"
    yield f"{'stage':12} {'first':>8} {'again':>8}"
    for stage, first in stages["first"].items():
        yield f"{stage:12} {first:8.2f} {stages['again'][stage]:8.2f}"
