"""Long work in small steps between which the application handles its events, without threads; and timers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import qt


def timer(call: Callable[[], None]) -> Any:
    """A timer that calls a method; it repeats until it is stopped.

    PythonQt holds what a signal is connected to for as long as the sender lives. An object that holds a timer which
    holds the object would therefore stay forever; so the timer only knows the object while somebody else does.
    """
    reference = weakref.WeakMethod(call)
    made = qt.QTimer()
    made.timeout.connect(lambda: _call(reference))
    return made


def _call(reference: weakref.WeakMethod[Callable[[], None]]) -> None:
    call = reference()
    if call is not None:
        call()


class Steps:
    """Runs one generator at a time, a step whenever the event loop is idle."""

    def __init__(self) -> None:
        self._work: Iterator[None] | None = None
        self._done: Callable[[Exception | None], None] = _nobody
        self._timer = timer(self._step)

    @property
    def busy(self) -> bool:
        """Whether work is under way."""
        return self._work is not None

    def run(self, work: Iterator[None], done: Callable[[Exception | None], None]) -> None:
        """Run `work` to its end, then call `done` with what it raised, or None. Replaces work that is under way."""
        self.stop()
        self._work, self._done = work, done
        self._timer.start(0)

    def stop(self) -> None:
        """Give up the work that is under way; its `done` is not called."""
        self._timer.stop()
        self._done = _nobody
        if self._work is not None:
            work, self._work = self._work, None
            work.close()

    def _step(self) -> None:
        if self._work is None:
            return
        try:
            next(self._work)
        except StopIteration:
            self._finish(None)
        except Exception as error:  # told to the user by whoever asked for the work
            self._finish(error)

    def _finish(self, error: Exception | None) -> None:
        self._timer.stop()
        self._work = None
        done, self._done = self._done, _nobody
        done(error)


def _nobody(error: Exception | None) -> None:
    """Nobody wants to be told; whoever wanted it need not stay for it."""
