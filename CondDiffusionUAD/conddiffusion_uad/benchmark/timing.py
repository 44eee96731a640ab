"""Seconds that a computation takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one run.

    On a CPU those that this process's threads computed, shared among them: other programs on the computer do not
    lengthen them. On other devices those that passed until it was done.
    """
    if device.type == "cpu":
        begin = time.process_time()
        work()
        return (time.process_time() - begin) / torch.get_num_threads()
    _wait(device)
    begin = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - begin


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
