"""Doing one thing for each of many scans, in one process or in several; one that fails does not stop the others."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import SimpleITK as sitk
import torch

from conddiffusion_uad.protocol.explanation import explain
from conddiffusion_uad.protocol.failures import BundleFailure, DeviceFailure, OutputFailure

Show = Callable[[int, int, str], None]
"""Told how many scans are done, of how many, and what is to be said about the last one, often nothing."""

_FATAL = {kind.exit_code: kind for kind in (BundleFailure, DeviceFailure, OutputFailure)}
"""What no other scan can escape either, by exit code."""


@dataclass(frozen=True)
class Task:
    """What is to be done for one scan.

    Attributes:
        id: Of the scan.
        work: Does it; can be pickled.
    """

    id: str
    work: Callable[[], None]


@dataclass(frozen=True)
class Failed:
    """A scan that failed, and why; the fields are those of a :class:`Failure`."""

    id: str
    code: str
    message: str
    hint: str
    exit_code: int


def run_tasks(tasks: Sequence[Task], jobs: int, show: Show, done: int = 0) -> list[Failed]:
    """Do all tasks.

    Args:
        tasks: In any order.
        jobs: Number of processes; 1 does them here.
        show: Told after each.
        done: How many scans were done earlier and count, too.

    Returns:
        Those that failed.

    Raises:
        Failure: Of the bundle, the device or the output: no other scan could succeed.
    """
    failures: list[Failed] = []
    for number, failed in enumerate(_in_any_order(tasks, jobs), start=done + 1):
        if failed and failed.exit_code in _FATAL:
            raise _FATAL[failed.exit_code](failed.code, failed.message, failed.hint)
        failures += [failed] if failed else []
        show(number, done + len(tasks), f"{failed.id}: {failed.message}" if failed else "")
    return failures


def _in_any_order(tasks: Sequence[Task], jobs: int) -> Iterator[Failed | None]:
    if jobs == 1:
        yield from map(_attempt, tasks)
        return
    context = multiprocessing.get_context("spawn")  # forked processes may not use CUDA
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, context, _limit_threads, (threads,)) as pool:
        futures = [pool.submit(_attempt, task) for task in tasks]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _attempt(task: Task) -> Failed | None:
    try:
        task.work()
    except Exception as error:
        failure = explain(error)
        return Failed(task.id, failure.code, failure.message, failure.hint, failure.exit_code)
    return None


def _limit_threads(threads: int) -> None:
    """Let the processes share the cores: more threads than cores make each other wait."""
    torch.set_num_threads(threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
