"""Ctrl-C and termination: one way to notice them, and not to be disturbed while cleaning up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Handle SIGTERM like SIGINT meanwhile. Does nothing on a thread that may not handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:  # else the process is ending
            signal.signal(signal.SIGTERM, earlier)


def ignore_interrupts() -> None:
    """From now on: a second one, of an impatient user, must not cut the cleaning short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
