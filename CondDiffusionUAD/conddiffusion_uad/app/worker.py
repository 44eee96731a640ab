"""A process that runs jobs for Slicer: jobs as JSON lines on stdin, events as JSON lines on stdout.

    {"job": "detect", "id": 1, "inputs": ["scan.nii.gz"], "output": "folder", ...}    the fields of `DetectionJob`
    {"job": "prepare", "bundle": "learned", "device": "auto"}      load what a detection takes; see `readiness`
    {"job": "cancel", "id": 1}
    {"job": "quit"}

Jobs run one after the other, and loaded models stay for the next one. The events of a job carry its "id" when it has
one; "cancel" without an id cancels every job. A line that is no job is answered by an error event. The end of stdin
ends the process at once, whatever it is doing; so does a lack of memory when there is no job, for then it only stays to
be ready for the next one.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any, BinaryIO, NoReturn

from conddiffusion_uad.app import output, readiness
from conddiffusion_uad.app.detection_job import Models, run
from conddiffusion_uad.app.interrupts import ignore_interrupts, terminate_as_interrupt
from conddiffusion_uad.app.streams import EventWriter, reserved_stdout
from conddiffusion_uad.protocol.events import Emit, Event, decode
from conddiffusion_uad.protocol.explanation import explain
from conddiffusion_uad.protocol.failures import EXIT_CANCELLED, EXIT_DONE, BadInput, Failure, shown
from conddiffusion_uad.protocol.job import DetectionJob

LOOK_S = 5.0  # how often a worker without a job looks whether its memory is wanted
MOST_LINE = 1 << 20  # bytes; a job of a hundred scans has a hundredth of it


Work = Callable[[Emit, threading.Event], object]


class Worker:
    """Takes orders on one thread and runs jobs on another."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._models = Models()
        self._waiting: SimpleQueue[tuple[Work, Event, threading.Event]] = SimpleQueue()
        self._cancels: set[tuple[str | int | None, threading.Event]] = set()  # of the jobs that are not over

    def take(self, lines: Iterable[bytes]) -> None:
        """Take orders until there are no more, or until "quit"."""
        for line in lines:
            tag: Event = {}
            try:
                order = decode(line.decode("utf-8", "replace"))
                tag = _tag(order)
                if order.get("job") == "quit":
                    return
                self._obey(order, tag)
            except Failure as failure:
                self._emit({**failure.event(), **tag})

    def work(self) -> NoReturn:
        """Run the jobs that were taken, forever."""
        while True:
            work, tag, cancelled = self._waiting.get()
            emit = functools.partial(self._emit_tagged, tag)
            try:
                work(emit, cancelled)
            except Exception as error:  # the next job must find this thread alive
                emit(explain(error).event())
            self._cancels.discard((tag.get("id"), cancelled))

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._cancels

    def _queue(self, work: Work, tag: Event) -> None:
        cancelled = threading.Event()
        self._cancels.add((tag.get("id"), cancelled))
        self._waiting.put((work, tag, cancelled))

    def _emit_tagged(self, tag: Event, event: Event) -> None:
        self._emit({**event, **tag})

    def _obey(self, order: dict[str, Any], tag: Event) -> None:
        kind, number = order.pop("job", None), order.pop("id", None)
        if kind == "detect":
            job = DetectionJob.from_json(order)
            self._queue(lambda emit, cancelled: run(job, emit, cancelled, self._models), tag)
        elif kind == "prepare":
            name, device = readiness.wanted(order)
            self._queue(lambda emit, _cancelled: emit(readiness.prepare(self._models, name, device)), tag)
        elif kind == "cancel":
            for known, cancelled in tuple(self._cancels):
                if number is None or known == number:
                    cancelled.set()
        else:
            raise BadInput("bad_line", f"There is no job {shown(kind)}.", "Accepted: detect, prepare, cancel, quit.")


def lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """Its lines as they come; of one longer than `MOST_LINE` only the beginning, which is answered as no job."""
    while line := stream.readline(MOST_LINE):
        yield line
        while len(line) == MOST_LINE and not line.endswith(b"\n"):
            line = stream.readline(MOST_LINE)


def serve() -> NoReturn:
    """Run the worker on this process's stdin and stdout until stdin ends."""
    with reserved_stdout() as stream, terminate_as_interrupt():
        worker = Worker(EventWriter(stream, gone=_end))
        try:
            threading.Thread(target=worker.work, daemon=True).start()
            threading.Thread(target=_take_until_the_end, args=(worker,), daemon=True).start()
            # Not reading here: a signal that another thread receives would not wake this one, which has to handle it.
            looked = time.monotonic()
            while True:
                time.sleep(0.1)
                if time.monotonic() - looked > LOOK_S:
                    looked = time.monotonic()
                    if worker.idle and readiness.memory_is_wanted():
                        _end()
        except KeyboardInterrupt:
            ignore_interrupts()
            _end(EXIT_CANCELLED)


def _take_until_the_end(worker: Worker) -> NoReturn:
    try:
        worker.take(lines_of(sys.stdin.buffer))
    except Exception as error:
        _end(explain(error).exit_code)
    _end()


def _end(code: int = EXIT_DONE) -> NoReturn:
    """End the process without waiting for what other threads are computing."""
    output.remove_all_private()
    os._exit(code)


def _tag(order: dict[str, Any]) -> Event:
    number = order.get("id")
    if number is not None and (isinstance(number, bool) or not isinstance(number, (str, int))):
        raise BadInput("bad_line", f"A job's id cannot be {shown(number)}.", "Accepted: a text or a whole number.")
    return {} if number is None else {"id": number}
