"""Doing one thing for each of many scans, in one process or in several; one that fails does not stop the others."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import SimpleITK as sitk
import torch

from conddiffusion_uad.protocol.explanation import explain
from conddiffusion_uad.protocol.failures import EXIT_UNFORESEEN, BundleFailure, DeviceFailure, OutputFailure

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
        jobs: Number of processes; 1 does them here.
        done: How many scans were done earlier and count, too.

    Returns:
        Those that failed, also those whose process was killed.

    Raises:
        Failure: Of the bundle, the device or the output: no other scan could succeed.
    """
    failures: list[Failed] = []
    results = map(_attempt, tasks) if jobs == 1 else _in_processes(tasks, jobs)
    for number, failed in enumerate(results, start=done + 1):
        if failed and failed.exit_code in _FATAL:
            raise _FATAL[failed.exit_code](failed.code, failed.message, failed.hint)
        failures += [failed] if failed else []
        show(number, done + len(tasks), f"{failed.id}: {failed.message}" if failed else "")
    return failures


def _in_processes(tasks: Sequence[Task], jobs: int) -> Iterator[Failed | None]:
    """Do tasks in several processes.

    A process that is killed breaks the whole pool, and nothing tells which task it had. So those that were under way
    are done again, each in a pool of its own: the one that breaks that, too, has failed.
    """
    waiting, suspects = deque(tasks), deque[Task]()
    while waiting or suspects:
        alone = bool(suspects)
        queue, running = suspects if alone else waiting, dict[Future, Task]()
        with _pool(1 if alone else jobs) as pool:
            try:
                yield from _through(pool, queue, running, 1 if alone else jobs)
            except BrokenProcessPool:
                broken = list(running.values()) or [queue.popleft()]
                if alone:
                    yield _killed(broken[0].id)
                else:
                    suspects.extend(broken)


def _through(
    pool: ProcessPoolExecutor, queue: deque[Task], running: dict[Future, Task], most: int
) -> Iterator[Failed | None]:
    """The results of all tasks of a queue; only so many are under way at once, and in `running`."""
    while queue or running:
        while queue and len(running) < most:
            running[pool.submit(_attempt, queue[0])] = queue[0]
            queue.popleft()
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            result = future.result()
            del running[future]
            yield result


def _pool(processes: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # forked processes may not use CUDA
    threads = max(1, (os.cpu_count() or 1) // processes)
    return ProcessPoolExecutor(processes, context, _limit_threads, (threads,))


def _killed(identifier: str) -> Failed:
    message = "The process that evaluated it was killed, perhaps for want of memory."
    return Failed(identifier, "process_killed", message, "Try fewer --jobs.", EXIT_UNFORESEEN)


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
