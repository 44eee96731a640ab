"""Timers that do not keep alive what they call."""

from __future__ import annotations

import weakref
from collections.abc import Callable
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
