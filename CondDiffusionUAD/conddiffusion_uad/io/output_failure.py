"""Errors of writing, as failures that name where the results were to go."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conddiffusion_uad.protocol.failures import OutputFailure

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def as_output_failure(output: Path) -> Iterator[None]:
    """Turn every error of writing into an OutputFailure that names `output` and not a private folder."""
    try:
        yield
    except OutputFailure as failure:
        if failure.code == "disk_full":
            raise _disk_full(output) from failure
        raise cannot_write(output) if failure.code == "cannot_write" else failure from failure
    except OSError as error:
        if error.errno in _FULL:
            raise _disk_full(output) from error
        raise cannot_write(output, error.strerror) from error


def _disk_full(output: Path) -> OutputFailure:
    return OutputFailure(
        "disk_full",
        f"There is no room left to write the results to {output}.",
        "Free some space, or choose an --output folder on another disk.",
    )


def cannot_write(output: Path, reason: str | None = None) -> OutputFailure:
    """The failure to tell when nothing can be written to `output`."""
    because = f": {reason}" if reason else ""
    return OutputFailure(
        "cannot_write",
        f"The results cannot be written to {output}{because}.",
        "Choose an --output folder that you may write to.",
    )
