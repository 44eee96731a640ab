"""Packed voxels: what a file is packed with, unpacking it no further than is needed, and where its voxels are at all.

A file is known by its first bytes, not by its name. All formats keep a checksum of what they compress, at which
SimpleITK's readers do not look, or not always: they fill what cannot be unpacked with zeros or with wrong values,
without a word. NRRD and MetaImage files may also have their voxels in another file, which may be a pipe or a device
that is never read to its end.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from conddiffusion_uad.protocol.failures import BadInput

GZIP, ZLIB, BZIP2 = "gzip", "zlib", "bzip2"
_MAGIC = {GZIP: b"\x1f\x8b", BZIP2: b"BZh"}
_WINDOW_BITS = {GZIP: 31, ZLIB: 47}  # what zlib shall expect: a gzip file; either that or its own format
_CHUNK = 1 << 20
_MOST_SKIPPED = 1 << 26  # bytes that may precede the voxels
_MOST_MORE = 2 * _MOST_SKIPPED  # bytes that may precede and follow them


class PackingError(ValueError):
    """What is packed cannot be unpacked, is not as long as promised, or does not agree with its checksum."""


@dataclass(frozen=True)
class Stored:
    """Where voxels, or a whole file, are.

    Attributes:
        path: Of the file.
        begin: The first byte of them in it.
        packing: GZIP, ZLIB or BZIP2; None when they are as they are.
        skipped: Bytes before the voxels, once unpacked.
    """

    path: Path
    begin: int = 0
    packing: str | None = None
    skipped: int = 0

    def blocks(self) -> Iterator[bytes]:
        """What is stored, unpacked, block by block; what follows it, and is not packed, is left out.

        Raises:
            OSError: The file cannot be read.
            PackingError: It is damaged or cut off.
        """
        with self.path.open("rb") as stream:
            stream.seek(self.begin)
            if self.packing is None:
                while block := stream.read(_CHUNK):
                    yield block
                return
            try:
                yield from _unpacked(stream, self.packing)
            except (zlib.error, OSError, ValueError) as error:
                raise PackingError(str(error)) from error

    def begins(self, count: int) -> bytes:
        """The first bytes, as many as there are. Raises OSError and PackingError."""
        taken = bytearray()
        for block in self.blocks():
            taken += block
            if len(taken) >= count:
                break
        return bytes(taken[:count])

    def take(self, count: int) -> bytearray:
        """The first bytes after what is skipped, exactly so many, of what has been unpacked to its end.

        Raises:
            OSError: The file cannot be read.
            PackingError: It is damaged, or unpacks to less or to far more.
        """
        taken, total, enough = bytearray(), 0, self.skipped + count
        for block in self.blocks():
            taken += block[: max(0, enough - total)]
            total += len(block)
            if total > enough + _MOST_MORE:
                raise PackingError("it unpacks to far more than its header says")
            if self.packing is None and total >= enough:
                break
        if total < enough:
            raise PackingError(f"it has {max(0, total - self.skipped)} of the {count} bytes that its header promises")
        del taken[: self.skipped]
        return taken


def _unpacked(stream: BinaryIO, packing: str) -> Iterator[bytes]:
    """What is packed in a stream, block by block; there may be several parts, as pigz makes them."""
    unpacker, data = _unpacker(packing), stream.read(_CHUNK)
    while True:
        block = unpacker.decompress(data, _CHUNK)
        yield block
        if unpacker.eof:
            data = unpacker.unused_data or stream.read(_CHUNK)
            data = data if len(data) >= 3 else data + stream.read(3)
            if packing == ZLIB or not data.startswith(_MAGIC[packing]):
                return
            unpacker = _unpacker(packing)
            continue
        if isinstance(unpacker, bz2.BZ2Decompressor):
            data = stream.read(_CHUNK) if unpacker.needs_input else b""
        else:
            data = unpacker.unconsumed_tail or stream.read(_CHUNK)
        if not data and not block:
            raise PackingError


def _unpacker(packing: str) -> bz2.BZ2Decompressor | zlib._Decompress:
    return bz2.BZ2Decompressor() if packing == BZIP2 else zlib.decompressobj(_WINDOW_BITS[packing])


def whole_file(path: Path) -> Stored:
    """A file, with what its first bytes say that it is packed with. Raises OSError."""
    with path.open("rb") as stream:
        begin = stream.read(3)
    return Stored(path, packing=next((kind for kind, magic in _MAGIC.items() if begin.startswith(magic)), None))


def check_place(path: Path, parts: Sequence[Stored]) -> None:
    """Check where a NRRD or MetaImage file has its voxels; call it before anything else reads it, which could wait.

    Raises:
        BadInput: truncated, or not_an_image when the voxels are in no plain file.
    """
    for part in parts:
        if part.path.exists() and not part.path.is_file():
            raise BadInput("not_an_image", f"{path.name} has its voxels in no file.", "Export the scan again.")
        if not part.path.exists():
            raise BadInput(
                "file_not_found",
                f"{path.name} has its voxels in {part.path.name}, which is not beside it.",
                "Copy both files into one folder.",
            )
        if part.skipped > _MOST_SKIPPED:
            raise damaged(path.name, f"its voxels begin at byte {part.skipped}")


def damaged(name: str, why: str = "") -> BadInput:
    """The failure for a file that is not all there."""
    because = f": {why}" if why else ""
    return BadInput("truncated", f"{name} is cut off or damaged{because}.", "Copy or export the file again.")
