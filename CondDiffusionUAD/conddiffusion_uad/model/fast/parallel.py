"""Work on parts of a batch side by side, each on one core."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Part = TypeVar("Part")


def side_by_side(work: Callable[[Part], torch.Tensor], parts: Sequence[Part]) -> list[torch.Tensor]:
    """Results of the work on each part, in their order, computed on as many CPU cores as torch may use.

    When torch shares each single operation among its threads, they wait for each other a thousand times in a batch; and
    when another program holds one core, all wait for that one. Here each thread has a part of its own.

    Args:
        work: Without gradients; called from several threads.
        parts: What to work on.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(parts) == 1:
        return [work(part) for part in parts]
    return list(_pool(threads).map(torch.inference_mode()(work), parts))


def single_threads(count: int, name: str) -> ThreadPoolExecutor:
    """Threads in each of which torch uses no other.

    torch has one number of threads for the whole process that each thread copies when it first asks. So all threads of
    the pool must have started, and have set a number of their own, before the process' number is put back.

    Args:
        count: Number of threads.
        name: What the names of the threads begin with.
    """
    usual = torch.get_num_threads()
    all_set = threading.Barrier(count + 1)

    def begin() -> None:
        torch.get_num_threads()  # copies the process' number; later that would undo what the next line says
        torch.set_num_threads(1)
        all_set.wait()

    pool = ThreadPoolExecutor(count, name, begin)
    for _ in range(count):
        pool.submit(int)  # a pool starts a thread only when there is work for it
    all_set.wait()
    torch.set_num_threads(usual)  # the calls above also count for threads that begin later, and for this thread's MKL
    return pool


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return single_threads(threads, "slices")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not come along
