"""An interrupt that is noticed after the step that it came in."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def noticed_interrupt() -> Iterator[threading.Event]:
    """Meanwhile a first SIGINT or SIGTERM only sets the event; a second one acts as ever.

    Does nothing on a thread that may not handle signals.
    """
    noticed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noticed
        return
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in earlier.items():
            signal.signal(number, handler)

    def notice(*_: object) -> None:
        noticed.set()
        restore()

    for number in earlier:
        signal.signal(number, notice)
    try:
        yield noticed
    finally:
        restore()
