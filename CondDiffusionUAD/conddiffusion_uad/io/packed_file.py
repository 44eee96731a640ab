"""Writing gzip files of images: half the time of the usual way, and no larger."""

from __future__ import annotations

import gzip
import zlib
from typing import BinaryIO


class PackedFile(gzip.GzipFile):
    """A gzip file being written, without name and date, so that equal contents make equal files.

    It looks for runs of equal bytes only: among the digits of noisy intensities longer repetitions are found by chance,
    seldom, and at the price of half the time.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(filename="", mode="wb", compresslevel=1, fileobj=stream, mtime=0)
        self.compress = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
