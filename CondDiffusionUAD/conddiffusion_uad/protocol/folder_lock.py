"""A lock on a folder among processes, that ends with the process that holds it. Standard library only."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_WINDOWS_FILE = ".conddiffusion-uad-lock"


class LockedError(Exception):
    """Another process holds the lock."""


def acquire(folder: Path) -> int | None:
    """Lock a folder at once.

    Returns:
        What to give to `os.close`, which ends the lock; None where the file system knows no locks.

    Raises:
        LockedError: Another process, or another call in this one, holds it.
    """
    if fcntl is None:
        return _acquire_on_windows(folder)
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise LockedError from error
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def locked(folder: Path, patience_s: float) -> Iterator[None]:
    """Hold the lock of a folder, waiting for it; where the file system knows no locks, go on without.

    Raises:
        LockedError: Another process held it all the time.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            descriptor = acquire(folder)
            break
        except LockedError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.02)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _acquire_on_windows(folder: Path) -> int | None:
    """Windows removes a file that is temporary when the process that made it ends, however it ends."""
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_TEMPORARY", 0)
    try:
        return os.open(folder / _WINDOWS_FILE, flags)
    except (FileExistsError, PermissionError) as error:
        raise LockedError from error
    except OSError:
        return None
