"""Does a DICOM file have the bytes that its elements claim? GDCM reserves memory for all they claim, gigabytes too.

The elements are followed as PS3.5 chapter 7 lays them out, one after the other, into sequences, up to the end.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

_WITH_LONG_LENGTH = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_WITH_SHORT_LENGTH = set(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_UNDEFINED = 0xFFFFFFFF
_META_GROUP, _ITEM_GROUP = 0x0002, 0xFFFE
_TRANSFER_SYNTAX, _ITEM, _PIXELS = (0x0002, 0x0010), (0xFFFE, 0xE000), (0x7FE0, 0x0010)
_BIG_ENDIAN, _DEFLATED = b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"


def lengths_fit(path: Path) -> bool:
    """Whether no element claims more bytes than the file has; True for what is no DICOM file.

    A DICOM file that begins with no group that begins one is damaged too: its elements cannot be followed.

    Raises:
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        named = stream.read(132)[128:] == b"DICM"
        begin = 132 if named else 0  # files of before 1993 have no preamble
        stream.seek(begin)
        if stream.read(2) not in (b"\x02\0", b"\x08\0"):
            return not named
        stream.seek(begin)
        return _Walk(stream, size).fits()


class _Walk:
    """Goes from element to element.

    Args:
        stream: At the first element.
        size: Of the file, bytes.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._order = "<"
        self._syntax = b""
        self._in_pixels = False

    def fits(self) -> bool:
        """Whether every length is within the file."""
        while len(start := self._stream.read(8)) == 8:
            tag = struct.unpack("<HH" if self._syntax == b"" else f"{self._order}HH", start[:4])
            if tag[0] != _META_GROUP and self._syntax == _DEFLATED:
                return True
            if tag[0] != _META_GROUP and self._syntax == _BIG_ENDIAN:
                self._order = ">"
                tag = struct.unpack(">HH", start[:4])
            kind, length = self._length(tag, start)
            if tag == _PIXELS and length != _UNDEFINED:
                return length <= self._size - self._stream.tell()  # whatever follows is not read
            if length == _UNDEFINED:
                self._in_pixels = self._in_pixels or tag == _PIXELS
            elif length > self._size - self._stream.tell():
                return False
            elif not self._enters(tag, kind, length):
                self._pass(tag, length)
        return True

    def _length(self, tag: tuple[int, int], start: bytes) -> tuple[bytes, int]:
        """Kind (value representation, empty where the file does not tell) and length of an element."""
        kind = b"" if tag[0] == _ITEM_GROUP else start[4:6]
        if kind in _WITH_SHORT_LENGTH:
            return kind, struct.unpack(f"{self._order}H", start[6:])[0]
        if kind in _WITH_LONG_LENGTH:
            return kind, struct.unpack(f"{self._order}I", self._stream.read(4).ljust(4, b"\0"))[0]
        return b"", struct.unpack(f"{self._order}I", start[4:])[0]

    def _enters(self, tag: tuple[int, int], kind: bytes, length: int) -> bool:
        """Whether elements follow inside of this one."""
        if kind == b"SQ" or (tag == _ITEM and not self._in_pixels):
            return True
        if kind or length < 8:
            return False
        inside = self._stream.read(4)
        self._stream.seek(-len(inside), os.SEEK_CUR)
        return inside == struct.pack(f"{self._order}HH", *_ITEM)

    def _pass(self, tag: tuple[int, int], length: int) -> None:
        """Go behind the value; of the transfer syntax, remember it."""
        if tag == _TRANSFER_SYNTAX:
            self._syntax = self._stream.read(length).rstrip(b"\0 ")
        else:
            self._stream.seek(length, os.SEEK_CUR)
