"""Where results go: written into a private folder first, then moved into place as a whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conddiffusion_uad.io.output_failure import as_output_failure, cannot_write
from conddiffusion_uad.protocol.failures import OutputFailure
from conddiffusion_uad.protocol.folder_lock import LockedError, acquire, locked
from conddiffusion_uad.protocol.result_files import FILES, POSSIBLE

_PREFIX = ".conddiffusion-uad-"
_OWN = f"{_PREFIX}{hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()}-"  # of this computer's runs
_PATIENCE_S = 10.0  # for another run to move its results into place, which takes milliseconds
_SETTLING_S = 10.0  # a younger private folder may be one whose run is just about to lock it
_ELSEWHERE_S = 7 * 86400.0  # a network drive may show another computer's files, but not its locks
_CAN_HOLD = os.name == "posix"  # Windows cannot remove a folder whose lock is held
_private: set[Path] = set()
_moving = threading.Lock()


@contextmanager
def staged(output: Path, *, force: bool) -> Iterator[Path]:
    """A private folder to write `FILES`, or more of `POSSIBLE`, into; they move to `output` when all went well.

    The folder lies on the file system of `output` (inside it when it exists, else beside the first folder that has to
    be made), may be read by its owner only, and is gone afterwards, whatever happens.

    Args:
        output: Folder for the results. It may not exist yet.
        force: Replace results that are there already; other files in the folder stay.

    Raises:
        OutputFailure: "output_exists", "cannot_write" or "disk_full".
    """
    with as_output_failure(output):
        _refuse_existing(output, force)
        nearest = _nearest_folder(output)
        _remove_remains(nearest)
        private = Path(tempfile.mkdtemp(prefix=_OWN, dir=nearest))
    _private.add(private)
    held = acquire(private) if _CAN_HOLD else None
    try:
        yield private
        with as_output_failure(output), _moving:
            _publish(private, output, force)
    finally:
        _remove(private)
        if held is not None:
            os.close(held)


def require_apart(output: Path, scan: str) -> None:
    """Refuse a folder where a result would replace the scan itself, which may have the name of a result.

    Raises:
        OutputFailure: "output_exists".
    """
    for name in POSSIBLE:
        with suppress(OSError):
            if os.path.samefile(output / name, scan):
                message = f"The result {name} would replace the scan itself."
                raise OutputFailure("output_exists", message, "Choose another --output folder.")


def remove_all_private() -> None:
    """Remove every private folder of this process, from any thread, also while another thread writes into it.

    Waits for results that are just being moved into place, which takes milliseconds, so that they arrive as a whole.
    """
    moving = _moving.acquire(timeout=0.5)
    for private in tuple(_private):
        _remove(private)
    if moving:
        _moving.release()


def _refuse_existing(output: Path, force: bool) -> None:
    if not output.is_dir() or force:
        return
    if any(not entry.name.startswith(_PREFIX) for entry in output.iterdir()):
        raise OutputFailure(
            "output_exists",
            f"The output folder {output} already holds something.",
            "Choose another --output folder, or replace earlier results with --force.",
        )


def _nearest_folder(output: Path) -> Path:
    """The output folder itself, or else the nearest folder above it that exists."""
    absolute = Path(os.path.abspath(output))
    nearest = next(path for path in (absolute, *absolute.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        kind = "a file, not a folder" if os.path.exists(nearest) else "a link that leads nowhere"
        raise NotADirectoryError(errno.ENOTDIR, f"{nearest.name} is {kind}")
    return nearest


def _publish(private: Path, output: Path, force: bool) -> None:
    """Move the finished files into place, unless another run was faster; one run at a time."""
    results = private / "results"
    results.mkdir(mode=0o777)
    for name in POSSIBLE:
        if name in FILES or (private / name).exists():
            os.replace(private / name, results / name)
    output.parent.mkdir(parents=True, exist_ok=True)
    if not output.exists():
        try:
            os.rename(results, output)
            return
        except OSError:
            if not output.is_dir():  # else another run made it just now
                raise
    try:
        with locked(output, _PATIENCE_S):
            _refuse_existing(output, force)
            _replace(results, output, private / "earlier")
    except LockedError as error:
        raise cannot_write(output, "another run is writing there") from error


def _replace(results: Path, output: Path, earlier: Path) -> None:
    """Move files into a folder; when one cannot be moved, put everything back as it was."""
    earlier.mkdir()
    moved: list[str] = []
    try:
        for name in POSSIBLE:
            if (output / name).exists():
                os.replace(output / name, earlier / name)
            moved.append(name)
            if name in FILES or (results / name).exists():
                os.replace(results / name, output / name)
    except BaseException:
        for name in moved:
            with suppress(OSError):
                os.replace(output / name, results / name)
            with suppress(OSError):
                os.replace(earlier / name, output / name)
        raise


def _remove_remains(folder: Path) -> None:
    """Remove the private folders of runs that were killed: those that nobody holds the lock of any more."""
    for private in folder.glob(f"{_PREFIX}*") if _CAN_HOLD else ():
        with suppress(OSError, LockedError):
            settled = _SETTLING_S if private.name.startswith(_OWN) else _ELSEWHERE_S
            if time.time() - private.stat().st_mtime < settled or not private.is_dir() or private.is_symlink():
                continue
            descriptor = acquire(private)
            if descriptor is not None:
                os.close(descriptor)
                shutil.rmtree(private, ignore_errors=True)


def _remove(private: Path) -> None:
    """Remove a private folder, also while another thread still adds files to it."""
    for _ in range(5):
        shutil.rmtree(private, ignore_errors=True)
        if not private.exists():
            break
    _private.discard(private)
