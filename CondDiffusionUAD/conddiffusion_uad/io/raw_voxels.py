"""Voxels that a header of text (NRRD, MetaImage) describes: in one file or several, as bytes or as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from conddiffusion_uad.io import packing
from conddiffusion_uad.io.packing import PackingError, Stored

TEXT, HEX = "text", "hex"
_LONGEST_NUMBER = 32  # characters of a value that is written as text, with what is before it
_LONGEST_LINE = 1 << 20  # bytes
_MOST_LINES = 10_000
_COUNT = re.compile("0*[1-9][0-9]{0,17}")
_NUMBER = re.compile(r"%0?\d{0,2}d")
_PATTERN = re.compile(rf"(.*{_NUMBER.pattern}.*?) +(-?\d{{1,6}}) +(-?\d{{1,6}})(?: +(-?\d{{1,6}}))?(?: +\d+)?")


def counts(told: str) -> list[int]:
    """The whole numbers from 1 on in a field of a header, such as "20 24 16"; nothing when it holds anything else."""
    parts = told.split()
    return [int(part) for part in parts] if all(map(_COUNT.fullmatch, parts)) else []


def listed(told: str, below: Sequence[str]) -> list[str]:
    """The names of the files with the voxels.

    Args:
        told: The header's word: "LIST", a pattern with first number, last number and step, or one name.
        below: The lines that follow the header.
    """
    if told.upper().startswith("LIST"):
        return [line.strip() for line in below if line.strip()]
    if found := _PATTERN.fullmatch(told):
        first, last, step = int(found[2]), int(found[3]), int(found[4] or 1) or 1
        numbers = range(first, last + (1 if step > 0 else -1), step)
        return [_NUMBER.sub(lambda digits, number=number: digits[0] % number, found[1]) for number in numbers]
    return [told]


def read(
    path: Path,
    parts: Sequence[Stored],
    dtype: np.dtype,
    count: int,
    *,
    written: str = "",
    lines: int = 0,
    from_end: bool = False,
) -> np.ndarray:
    """The values, in the order of the files.

    Args:
        parts: Where the voxels are, as many in each.
        dtype: Of a voxel.
        count: Voxels of all parts.
        written: TEXT or HEX; empty for bytes.
        lines: To skip before the voxels; what is packed begins behind them.
        from_end: Whether the voxels are the last bytes of their file, whatever precedes them.

    Raises:
        BadInput: truncated, file_not_found or not_an_image.
    """
    packing.check_place(path, parts)
    if not parts or count % len(parts):
        raise packing.damaged(path.name, f"{count} voxels cannot be in {len(parts)} files")
    each, values = count // len(parts), []
    for part in parts:
        try:
            placed = _placed(part, each * dtype.itemsize, lines, from_end and not written)
            values.append(_values(placed, dtype, each, written))
        except (OSError, ValueError) as error:
            raise packing.damaged(part.path.name, str(error)) from error
    return np.concatenate(values)


def _placed(part: Stored, count: int, lines: int, from_end: bool) -> Stored:
    """Where so many bytes begin."""
    if from_end and part.packing is None:
        begin = part.path.stat().st_size - count
        if begin < part.begin:
            raise PackingError("it is too short")
        return Stored(part.path, begin)
    with part.path.open("rb") as stream:
        stream.seek(part.begin)
        for _ in range(min(lines, _MOST_LINES)):
            stream.readline(_LONGEST_LINE)
        return Stored(part.path, stream.tell(), part.packing, part.skipped)


def _values(part: Stored, dtype: np.dtype, count: int, written: str) -> np.ndarray:
    if not written:
        return np.frombuffer(part.take(count * dtype.itemsize), dtype)
    text = part.begins(count * _LONGEST_NUMBER + _LONGEST_LINE).decode("ascii", "replace")
    if written == HEX:
        values = np.frombuffer(bytes.fromhex("".join(text.split())), dtype)[:count]
    else:
        values = np.array(text.split()[:count], float).astype(dtype)
    if len(values) < count:
        raise PackingError(f"it has {len(values)} of {count} values")
    return values
