"""Standard output as a channel for events alone."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO

from conddiffusion_uad.protocol.events import Event, encode


class EventWriter:
    """Writes events to a stream, one a line, from any thread.

    Args:
        gone: Called once when nobody reads the stream any more.
    """

    def __init__(self, stream: TextIO, gone: Callable[[], None]) -> None:
        self._stream = stream
        self._gone = gone
        self._lock = threading.Lock()
        self._open = True

    def __call__(self, event: Event) -> None:
        """Write an event at once."""
        with self._lock:
            if not self._open:
                return
            try:
                self._stream.write(encode(event) + "\n")
                self._stream.flush()
            except OSError:
                self._open = False
        if not self._open:
            self._gone()


def open_standard_streams() -> None:
    """See to it that stdin, stdout and stderr are there, as they are not when a shell closed them (``2>&-``).

    Otherwise the next file that is opened would get their number, and what libraries print would end up in it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


@contextmanager
def reserved_stdout() -> Iterator[TextIO]:
    """The standard output, for events; whatever else is printed meanwhile goes to stderr.

    Libraries written in C print to the file descriptor itself, so that is redirected too (not when Python's stdout has
    been replaced: then it is not the process's).
    """
    stdout = sys.stdout
    if stdout is not sys.__stdout__:
        with redirect_stdout(sys.stderr):
            yield stdout
        return
    stdout.flush()
    descriptor = stdout.fileno()
    kept = os.dup(descriptor)
    stream = os.fdopen(os.dup(descriptor), "w", encoding="ascii", newline="\n")
    os.dup2(sys.stderr.fileno(), descriptor)
    try:
        with redirect_stdout(sys.stderr):
            yield stream
    finally:
        with suppress(OSError):  # nobody may be reading any more
            stream.close()
        os.dup2(kept, descriptor)
        os.close(kept)
