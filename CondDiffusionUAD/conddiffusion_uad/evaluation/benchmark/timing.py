"""Seconds that a computation takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch


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


def least_seconds(work: Callable[[], object], device: torch.device, trials: int) -> float:
    """The least of several runs, after one that is not counted."""
    work()
    return min(seconds_of(work, device) for _ in range(trials))


def in_turns(variants: Sequence[Callable[[], object]], device: torch.device, rounds: int) -> list[list[float]]:
    """Seconds of each variant in each round; in a round all run one after the other, so that they can be paired."""
    for work in variants:
        work()
    return [[seconds_of(work, device) for work in variants] for _ in range(rounds)]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
