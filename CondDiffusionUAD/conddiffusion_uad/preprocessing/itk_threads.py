"""How many threads ITK uses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import SimpleITK as sitk

_CHANGED = threading.RLock()  # the number is the process's: one thread at a time may change it


@contextmanager
def itk_threads(number: int) -> Iterator[None]:
    """Let ITK use this many threads meanwhile, also in filters that others are made of.

    One is quickest for many small images: several threads would wait for each other after each of them.
    """
    with _CHANGED:
        usual = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(number)
        try:
            yield
        finally:
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(usual)
