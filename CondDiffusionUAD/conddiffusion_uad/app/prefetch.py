"""Reading and preparing the next scan while the network is at work on this one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from conddiffusion_uad.app import computer
from conddiffusion_uad.detection.recorder import Recorder
from conddiffusion_uad.protocol.events import Progress, Quiet
from conddiffusion_uad.protocol.explanation import is_out_of_memory
from conddiffusion_uad.protocol.failures import Cancelled

if TYPE_CHECKING:
    import SimpleITK as sitk

    from conddiffusion_uad.preprocessing.preparation import Prepared

LEAST_FREE_MB = 2000.0  # of memory: two scans are held at once
LOOK_S = 0.2  # how often a run that waits looks whether it was cancelled

Result = TypeVar("Result")
ReadScan = tuple["sitk.Image", str, list[tuple[str, str, str]]]
"""A scan, its contrast, and the warnings that were told while it was read."""

Read = Callable[[str], ReadScan]


class Unwatched(Quiet):
    """The progress of work that nobody watches: it says nothing, and ends the work once that is unwanted."""

    def __init__(self) -> None:
        self.unwanted = threading.Event()

    def stage(self, name: str) -> None:
        """Raise Cancelled when the work is unwanted."""
        self.advance(0.0)

    def advance(self, fraction: float) -> None:
        """Raise Cancelled when the work is unwanted."""
        if self.unwanted.is_set():
            raise Cancelled()


class Preparing(threading.Thread):
    """A scan that is being read and prepared on a thread of its own, which does not keep the program alive.

    Args:
        options: Keyword arguments of `preparation.prepare`, but `progress`.

    Attributes:
        path: The scan.
        options: What it is prepared with.
        scan: Its image and contrast, once it is read.
        prepared: What the preparation gives, once it is done.
        recorder: Knows the stages and warnings, once it is done.
    """

    def __init__(self, path: str, read: Read, options: Mapping[str, Any]) -> None:
        super().__init__(daemon=True)
        self.path, self.options = path, dict(options)
        self.scan: Future[ReadScan] = Future()
        self.prepared: Future[Prepared] = Future()
        self._progress = Unwatched()
        self.recorder = Recorder(self._progress)
        self._read = read

    def run(self) -> None:
        """Read, then prepare; what goes wrong is kept for those who ask for the result."""
        _fulfil(self.scan, lambda: self._read(self.path))
        _fulfil(self.prepared, self._prepare)

    def _prepare(self) -> Prepared:
        from conddiffusion_uad.preprocessing.preparation import prepare

        try:
            return prepare(self.scan.result()[0], **self.options, progress=self.recorder)
        finally:
            self.recorder.stop()

    def drop(self) -> None:
        """Let it end as soon as it can: nobody waits for it."""
        self._progress.unwanted.set()


def _fulfil(future: Future[Result], work: Callable[[], Result]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


def settled(future: Future[Result], progress: Progress) -> Future[Result]:
    """The future once it is over, well or badly. Raises Cancelled from `progress` while waiting."""
    while not wait((future,), LOOK_S).done:
        progress.advance(0.0)
    return future


class Ahead:
    """Prepares one scan after the other, each a turn before it is wanted."""

    def __init__(self, paths: tuple[str, ...], read: Read) -> None:
        self._following = dict(pairwise(paths))
        self._read = read
        self._next: Preparing | None = None

    def scan(self, path: str, progress: Progress) -> ReadScan:
        """The scan at a path, its contrast and what was told, read already or now."""
        if self._next is not None and self._next.path == path:
            try:
                return settled(self._next.scan, progress).result()
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            self.drop(path)  # the memory did not suffice for two scans; for one it may
        return self._read(path)

    def prepare(self, path: str, scan: sitk.Image, options: Mapping[str, Any], recorder: Recorder) -> Prepared:
        """The scan at a path prepared, already or now; then the one after it begins.

        Args:
            options: Keyword arguments of `preparation.prepare`, but `progress`.

        Raises:
            Failure, Cancelled: See `preparation.prepare`.
        """
        from conddiffusion_uad.preprocessing.preparation import prepare

        prepared = self._prepared_ahead(path, options, recorder)
        if prepared is None:
            prepared = prepare(scan, **options, progress=recorder)
        self._begin_after(path, options)
        return prepared

    def _prepared_ahead(self, path: str, options: Mapping[str, Any], recorder: Recorder) -> Prepared | None:
        """What was begun for this scan and with these options; None without it, or when its memory did not suffice."""
        started = self._next
        try:
            if started is None or started.path != path or started.options != options:
                return None
            error = settled(started.prepared, recorder).exception()
            if error is not None and is_out_of_memory(error):
                return None
            recorder.take_over(started.recorder)
            return started.prepared.result()
        finally:
            self.drop()

    def drop(self, path: str | None = None) -> None:
        """End what was begun for the scan at a path, or for any, because nobody wants it any more."""
        if self._next is not None and path in (None, self._next.path):
            self._next.drop()
            self._next = None

    def _begin_after(self, path: str, options: Mapping[str, Any]) -> None:
        following = self._following.get(path)
        if following is not None and _has_room_for_two():
            self._next = Preparing(following, self._read, options)
            self._next.start()


def _has_room_for_two() -> bool:
    """Whether this computer has the cores and the memory for two scans at once."""
    memory = computer.memory()
    return (os.cpu_count() or 1) > 1 and (memory is None or memory.available >= LEAST_FREE_MB)
