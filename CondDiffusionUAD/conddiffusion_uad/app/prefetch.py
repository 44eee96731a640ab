"""Reading and preparing the next scan while the network is at work on this one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from itertools import pairwise
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from conddiffusion_uad.app import computer
from conddiffusion_uad.detection.recorder import Recorder
from conddiffusion_uad.protocol.events import Progress
from conddiffusion_uad.protocol.explanation import is_out_of_memory
from conddiffusion_uad.protocol.failures import Cancelled

if TYPE_CHECKING:
    import SimpleITK as sitk

    from conddiffusion_uad.preprocessing.preparation import Prepared

LEAST_FREE_MB = 2000.0  # of memory: two scans are held at once
LOOK_S = 0.2  # how often a run that waits looks whether it was cancelled

Read = Callable[[str], "tuple[sitk.Image, str]"]
Call = tuple[str, tuple[Any, ...]]


class Preparing(threading.Thread):
    """A scan that is being read and prepared by a thread of its own.

    Everything that it would tell is kept, and told when its turn has come; so is the error that it ends with.

    Args:
        path: The scan.
        read: Gives the scan and its contrast.
        options: Keyword arguments of `preparation.prepare`, but `progress`.

    Attributes:
        path: The scan.
        options: What it is prepared with.
        recorder: Knows the seconds of its stages once it is done.
    """

    def __init__(self, path: str, read: Read, options: Mapping[str, Any]) -> None:
        super().__init__(daemon=True)
        self.path, self.options = path, dict(options)
        self.recorder = Recorder(self)
        self._read = read
        self._scan: tuple[sitk.Image, str] | None = None
        self._prepared: Prepared | None = None
        self._error: BaseException | None = None
        self._unwanted, self._is_read = threading.Event(), threading.Event()
        self._told: SimpleQueue[Call | None] = SimpleQueue()

    def run(self) -> None:
        from conddiffusion_uad.preprocessing.preparation import prepare

        try:
            self.recorder.stage("read")
            self._scan = self._read(self.path)
            self._is_read.set()
            self._prepared = prepare(self._scan[0], **self.options, progress=self.recorder)
            self.recorder.stop()
        except BaseException as error:
            self._error = error
        finally:
            self._is_read.set()
            self._told.put(None)

    def scan(self, progress: Progress) -> tuple[sitk.Image, str]:
        """The scan and its contrast. Raises what reading them raised, and Cancelled from `progress`."""
        while not self._is_read.wait(LOOK_S):
            progress.advance(0.0)
        if self._scan is None:
            raise self._error
        return self._scan

    def prepared(self, progress: Progress) -> Prepared:
        """The prepared scan; tells `progress` all that happened. Raises what the preparation, or `progress`, raises."""
        fraction = 0.0
        while (call := self._next()) is not None:
            name, arguments = call or ("advance", (fraction,))
            fraction = arguments[0] if name == "advance" else 0.0
            getattr(progress, name)(*arguments)
        if self._prepared is None:
            raise self._error
        return self._prepared

    def drop(self) -> None:
        """Let it end as soon as it can: nobody waits for it."""
        self._unwanted.set()

    def stage(self, name: str) -> None:
        """Keep for later. Raises Cancelled when it was dropped."""
        self._keep("stage", name)

    def advance(self, fraction: float) -> None:
        """Keep for later. Raises Cancelled when it was dropped."""
        self._keep("advance", fraction)

    def warning(self, code: str, message: str, hint: str = "") -> None:
        """Keep for later."""
        self._keep("warning", code, message, hint)

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Keep for later."""
        self._keep("expect", seconds)

    def _keep(self, name: str, *arguments: Any) -> None:
        if self._unwanted.is_set():
            raise Cancelled()
        if (name, *arguments) != ("stage", "read"):  # told already by the run that takes the scan over
            self._told.put((name, arguments))

    def _next(self) -> Call | tuple[()] | None:
        """What comes next; () when there is nothing new yet, None when there is nothing more."""
        try:
            return self._told.get(timeout=LOOK_S)
        except Empty:
            return ()


class Ahead:
    """Prepares one scan after the other, each a turn before it is wanted.

    Args:
        paths: The scans, in the order in which they are wanted.
        read: Gives a scan and its contrast.
    """

    def __init__(self, paths: tuple[str, ...], read: Read) -> None:
        self._following = dict(pairwise(paths))
        self._read = read
        self._next: Preparing | None = None

    def scan(self, path: str, progress: Progress) -> tuple[sitk.Image, str]:
        """The scan at a path and its contrast, read already or now."""
        if self._next is not None and self._next.path == path:
            try:
                return self._next.scan(progress)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            self.drop(path)  # the memory did not suffice for two scans; for one it may
        return self._read(path)

    def prepare(self, path: str, scan: sitk.Image, options: Mapping[str, Any], recorder: Recorder) -> Prepared:
        """The scan at a path prepared, already or now; then the one after it begins.

        Args:
            path: Of the scan.
            scan: As it was read.
            options: Keyword arguments of `preparation.prepare`, but `progress`.
            recorder: Told how it goes.

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
        started, self._next = self._next, None
        if started is None:
            return None
        if started.path != path or started.options != options:
            started.drop()
            return None
        try:
            prepared = started.prepared(recorder)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        recorder.replace(started.recorder.seconds)
        return prepared

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
