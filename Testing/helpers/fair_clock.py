"""A clock for limits that a user feels, which does not blame a program for what other programs do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable


def is_crowded() -> bool:
    """Whether other programs keep the processors busy."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1) + 0.5


def fair_clock() -> Callable[[], float]:
    """The clock in seconds or, where it is crowded, the one that counts what this thread computes."""
    return time.thread_time if is_crowded() else time.perf_counter
