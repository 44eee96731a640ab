"""Bringing a bundle in from a folder or a ZIP archive that may come from anywhere.

Nothing in it is believed: only files of the kinds that a bundle consists of are copied, into a private folder, within
limits on number and size; what lies there must then load as a whole bundle. Only this moves into place.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.protocol.bundle_folders import VARIABLE, imported_bundles, present_name
from conddiffusion_uad.protocol.failures import BundleFailure, OutputFailure

MOST_FILES = 100
MOST_BYTES = 4 * 2**30  # of all files together; the published network takes 140 MB
MOST_BYTES_OF_TEXT = 32 * 2**20  # of a file that is not the weights
ACCEPTED = (".json", ".toml", ".txt", ".md", ".png", ".jpg", ".safetensors")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_IGNORED = {"__MACOSX", ".DS_Store"}  # what macOS adds
_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Entry:
    """A file of the source.

    Attributes:
        path: Within the source.
        open: Opens it for reading.
    """

    path: PurePosixPath
    open: Callable[[], IO[bytes]]


def import_bundle(source: Path, *, name: str | None = None, force: bool = False) -> bundles.Bundle:
    """Copy a bundle to where `bundle.locate` finds it by its name.

    Args:
        source: Folder of a bundle, or a ZIP archive of one.
        name: What it shall be called; None for the name of its folder or of the archive.

    Returns:
        The bundle, loaded from its new place.

    Raises:
        BundleFailure: "bundle_not_found", "bundle_unsafe", "bundle_pickled", "bundle_too_large", "bundle_exists",
            "bundle_bad_name", and what `bundle.load` raises.
        OutputFailure: "cannot_write" or "disk_full".
    """
    name = _require_name(name or (source.stem if source.is_file() else source.resolve().name))
    home = imported_bundles()
    if home is None:
        raise OutputFailure("cannot_write", "There is no home folder to keep bundles in.", f"Set {VARIABLE}.")
    target = home / name
    if target.exists() and not force:
        raise BundleFailure(
            "bundle_exists", f"There is a bundle {name} already.", "Choose another --name, or replace it with --force."
        )
    with as_output_failure(home):
        home.mkdir(parents=True, exist_ok=True)
        private = Path(tempfile.mkdtemp(prefix=".import-", dir=home))
        try:
            _copy(source, private / name)
            bundles.write_inference(private / name)  # MONAI runs whatever code this file names
            _require_sealed(bundles.load(str(private / name)))
            _move(private / name, target, private / "earlier")
        finally:
            shutil.rmtree(private, ignore_errors=True)
    return bundles.load(str(target))


def _require_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise BundleFailure(
            "bundle_bad_name",
            f"A bundle cannot be called {name[:80]!r}.",
            "Choose a --name of at most 64 letters, digits, dots, hyphens and underscores.",
        )
    if present_name(name) in bundles.shipped():
        raise BundleFailure("bundle_exists", f"{name} is the name of a shipped bundle.", "Choose another --name.")
    return name


def _copy(source: Path, folder: Path) -> None:
    """Copy the files of a bundle, and nothing else, into a new folder."""
    with ExitStack() as stack:
        entries = [entry for entry in _few(_entries(source, stack)) if not _IGNORED & set(entry.path.parts)]
        top = _top(entries)
        room = MOST_BYTES
        for entry in entries:
            path = _checked(entry.path.relative_to(top) if entry.path.is_relative_to(top) else entry.path)
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            limit = room if path.suffix == ".safetensors" else min(room, MOST_BYTES_OF_TEXT)
            room -= _copy_file(entry, place, limit)


def _few(entries: Iterator[_Entry]) -> Iterator[_Entry]:
    """The entries, as long as they are no more than a bundle has. Raises BundleFailure("bundle_too_large")."""
    for count, entry in enumerate(entries, start=1):
        if count > MOST_FILES:
            raise _too_large(f"more than {MOST_FILES} files")
        yield entry


def _entries(source: Path, stack: ExitStack) -> Iterator[_Entry]:
    if source.is_dir():
        return _of_folder(source)
    if not source.is_file():
        raise BundleFailure("bundle_not_found", f"There is no bundle {source}.", "Give its folder or its ZIP archive.")
    try:
        return _of_archive(stack.enter_context(zipfile.ZipFile(source)))
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise _no_archive(source) from error


def _of_folder(source: Path) -> Iterator[_Entry]:
    """The files below a folder; links, devices and the like are refused, not followed."""
    for count, (folder, folders, files) in enumerate(os.walk(source), start=1):
        if count > MOST_FILES:
            raise _too_large(f"more than {MOST_FILES} folders")
        for name in sorted([*folders, *files]):
            path = Path(folder) / name
            inside = PurePosixPath(path.relative_to(source).as_posix())
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                yield _Entry(inside, partial(_opened, path))
            elif not stat.S_ISDIR(mode):
                raise _unsafe(f"{inside} is not a plain file")


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _of_archive(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir():
            continue
        if kind not in (0, stat.S_IFREG):
            raise _unsafe(f"{info.filename[:80]!r} is not a plain file")
        if info.flag_bits & 1:
            raise _unsafe(f"{info.filename[:80]!r} is encrypted")
        yield _Entry(PurePosixPath(info.filename), partial(archive.open, info))


def _top(entries: list[_Entry]) -> PurePosixPath:
    """The folder inside the source that holds the bundle. Raises BundleFailure("bundle_not_found")."""
    metadata = PurePosixPath(bundles.METADATA)
    tops = [entry.path.parents[1] for entry in entries if entry.path.parts[-2:] == metadata.parts]
    if len(tops) != 1:
        raise BundleFailure(
            "bundle_not_found",
            f"There is not one bundle in it, but {len(tops)}.",
            f"Give a folder or a ZIP archive with one {bundles.METADATA}.",
        )
    return tops[0]


def _checked(path: PurePosixPath) -> PurePosixPath:
    """The path of a file inside the bundle's folder, if it may be there. Raises BundleFailure."""
    shown = repr(str(path)[:80])
    plain = all(re.fullmatch(r"[\w][\w .+-]*", part, re.ASCII) and not part.endswith((".", " ")) for part in path.parts)
    if path.is_absolute() or not plain or len(path.parts) > 4:
        raise _unsafe(f"the path {shown} leads out of it, or nowhere")
    if path.suffix in bundles.PICKLES:
        raise bundles.pickled(path.name)
    if path.suffix not in ACCEPTED and path.name != "LICENSE":
        raise _unsafe(f"{shown} is no part of a bundle")
    return path


def _copy_file(entry: _Entry, place: Path, limit: int) -> int:
    """Copy a file of at most `limit` bytes, counted as they come, and return their number."""
    total = 0
    try:
        with entry.open() as source, place.open("xb") as target:
            while chunk := source.read(_CHUNK):
                total += len(chunk)
                if total > limit:
                    raise _too_large(f"{entry.path.name} is larger than {limit / 2**20:.0f} MB")
                target.write(chunk)
    except FileExistsError as error:
        raise _unsafe(f"{entry.path.name} is in it twice") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _no_archive(Path(entry.path.name)) from error
    return total


def _require_sealed(bundle: bundles.Bundle) -> None:
    if "sha256" not in bundle.metadata:
        raise BundleFailure(
            "bundle_not_calibrated",
            "The bundle states no hash: it was never finished.",
            "Calibrate it, then try again.",
        )


def _move(new: Path, target: Path, aside: Path) -> None:
    """Put the bundle in its place; when that fails, the earlier one stands."""
    if target.exists():
        target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        with suppress(OSError):
            aside.rename(target)
        raise


def _unsafe(reason: str) -> BundleFailure:
    return BundleFailure("bundle_unsafe", f"The bundle is refused: {reason}.", "Ask for it at a source that you trust.")


def _too_large(reason: str) -> BundleFailure:
    return BundleFailure("bundle_too_large", f"The bundle is refused: {reason}.", "Ask for it at its source again.")


def _no_archive(source: Path) -> BundleFailure:
    return BundleFailure("bundle_damaged", f"{source.name} is damaged or no ZIP archive.", "Get it again.")
