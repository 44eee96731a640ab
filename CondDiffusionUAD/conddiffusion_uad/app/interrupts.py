"""Ctrl-C and termination: one way to notice them, and not to be disturbed while cleaning up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Handle what ends a process (SIGTERM, and SIGHUP when its terminal is closed) like SIGINT meanwhile.

    One that is ignored already, as `nohup` does, stays so. Does nothing on a thread that may not handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in _ENDING}
    earlier = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
    for number in earlier:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # else the process is ending
                signal.signal(number, handler)


def ignore_interrupts() -> None:
    """From now on: a second one, of an impatient user, must not cut the cleaning short."""
    for number in (signal.SIGINT, *_ENDING):
        signal.signal(number, signal.SIG_IGN)
