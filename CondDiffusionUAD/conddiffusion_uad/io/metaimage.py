"""Reading MetaImage files, with their voxels in them or beside them. See "MetaIO Documentation", "MetaImage tags".

SimpleITK's reader takes the size of a voxel that is missing for 1 mm, and a scan without orientation for one that lies
along L, P, S; fills what it cannot unpack with whatever is there; and ends the process over some patterns of names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import geometry, intensities, packing, raw_voxels, scan_checks, units
from conddiffusion_uad.io.packing import Stored
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

SUFFIXES = (".mha", ".mhd")
_MOST_HEADER = 1 << 20  # bytes
_END = re.compile(rb"^ElementDataFile *=.*?(\n|\Z)", re.MULTILINE)
_DTYPES = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4"},
    **{"MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8"},
    **{"MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
_DIRECTIONS = ("TransformMatrix", "Orientation", "Rotation")
_ORIGINS = ("Offset", "Origin", "Position")
_SIZES = ("ElementSpacing", "ElementSize")


@dataclass(frozen=True)
class _Header:
    """What a header says.

    Attributes:
        name: Of the file, for messages.
        fields: By their names.
        below: The lines that follow it; only what lists files.
        end: The first byte after it.
    """

    name: str
    fields: Mapping[str, str]
    below: tuple[str, ...]
    end: int

    def first(self, names: tuple[str, ...]) -> str:
        """Which of several names of one field is there; empty for none."""
        return next((name for name in names if name in self.fields), "")

    def numbers(self, field: str, count: int) -> list[float]:
        """The numbers of a field. Raises BadInput("truncated")."""
        try:
            found = [float(part) for part in self.fields[field].split()]
        except (KeyError, ValueError):
            found = []
        if len(found) != count or not np.isfinite(found).all():
            said = self.fields.get(field, "missing")
            raise packing.damaged(self.name, f"its line {field} is {said!r}; {count} numbers are expected")
        return found

    def says(self, *fields: str) -> bool:
        """Whether a field is true."""
        return self.fields.get(self.first(fields), "").lower() in ("true", "t", "1")


def begins(begin: bytes) -> bool:
    """Whether a file begins as MetaImage files do."""
    return re.match(rb"(ObjectType|NDims|Comment)\s*=", begin) is not None


def read(path: Path, reading: Reading) -> sitk.Image:
    """Read a file as float32 image in LPS mm; values that are no numbers stay.

    Raises:
        BadInput: truncated, not_an_image, is_rgb, not_3d, too_small, too_large, no_orientation, bad_spacing,
            geometry_contradiction, bad_intensities or bad_direction.
    """
    header = _header(path)
    sizes = _sizes(header)
    scan_checks.check_shape(sizes, path.name, reading)
    grid = geometry.grid_of(_affine(header, reading), sizes, path.name, reading=reading)
    values = _values(path, header, math.prod(sizes)).reshape(sizes[::-1])
    return grid.with_array(intensities.as_float32(values, path.name, reading))


def _header(path: Path) -> _Header:
    with path.open("rb") as stream:
        head = stream.read(_MOST_HEADER)
    found = _END.search(head)
    if found is None:
        message = f"{path.name} has the name of a MetaImage file but is none: it has no line ElementDataFile."
        raise BadInput("not_an_image", message, "Copy or export the file again.")
    lines = head[: found.end()].decode("utf-8", "replace").splitlines()
    fields = {name.strip(): value.strip() for name, equals, value in (line.partition("=") for line in lines) if equals}
    listed = fields["ElementDataFile"].upper().startswith("LIST")
    below = head[found.end() :].decode("utf-8", "replace").splitlines() if listed else []
    return _Header(path.name, fields, tuple(below), found.end())


def _sizes(header: _Header) -> tuple[int, ...]:
    """Voxels along each axis, without axes of length one behind the third. Raises BadInput: truncated or is_rgb."""
    axes = header.fields.get("NDims", "")
    count = int(axes) if re.fullmatch(r"[1-9]|10", axes) else 0
    if not count:
        raise packing.damaged(header.name, f"its line NDims is {axes or 'missing'!r}")
    sizes = raw_voxels.counts(header.fields.get("DimSize", ""))
    if len(sizes) != count:
        said = header.fields.get("DimSize", "missing")
        raise packing.damaged(header.name, f"its line DimSize is {said!r}; {count} whole numbers are expected")
    channels = header.fields.get("ElementNumberOfChannels", "1")
    if not raw_voxels.counts(channels):
        raise packing.damaged(header.name, f"its line ElementNumberOfChannels is {channels!r}")
    if raw_voxels.counts(channels) != [1] or header.fields.get("ElementType", "").endswith("_ARRAY"):
        raise scan_checks.not_one_value(header.name, channels)
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)


def _affine(header: _Header, reading: Reading) -> np.ndarray:
    """The 4x4 matrix from voxel indices to LPS mm."""
    axes = int(header.fields["NDims"])
    direction, origin, size = (header.first(names) for names in (_DIRECTIONS, _ORIGINS, _SIZES))
    if not size:
        message = f"{header.name} does not say how large its voxels are (it has no line ElementSpacing)."
        raise BadInput("bad_spacing", message, "Convert it again from DICOM, or set its voxel spacing.")
    spacing = np.array(header.numbers(size, axes)[:3])
    matrix = np.eye(3)
    if direction:
        matrix = np.reshape(header.numbers(direction, axes * axes), (axes, axes)).T[:3, :3]
    else:
        geometry.unplaced(header.name, "it has no line TransformMatrix", reading)
    _check_signs(header, spacing, matrix, reading)
    affine = np.eye(4)
    affine[:3, :3] = matrix * spacing
    if origin:
        affine[:3, 3] = header.numbers(origin, axes)[:3]
    elif direction:
        geometry.without_origin(header.name, "it has no line Offset", reading)
    return units.in_mm(affine, header.fields.get("DistanceUnits", "").replace("?", ""), header.name, reading)


def _check_signs(header: _Header, spacing: np.ndarray, matrix: np.ndarray, reading: Reading) -> None:
    """Doubt sizes that are negative, and directions that are lengths, too."""
    lengths_told = np.linalg.norm(matrix, axis=0)
    said = " x ".join(f"{number:g}" for number in spacing)
    if (spacing < 0).any():
        what = f"{said} mm large: a negative size exchanges the sides"
    elif lengths_told.all() and np.abs(lengths_told - 1).max() > geometry.MAX_SHEAR:
        longer = " x ".join(f"{number:g}" for number in lengths_told)
        what = f"{said} mm large, and that its directions are {longer} mm long instead of 1"
    else:
        return
    reading.doubt(
        "geometry_contradiction",
        f"The header of {header.name} says that its voxels are {what}.",
        "Convert it again from DICOM, or correct the header.",
        "both are multiplied, as in ITK",
    )


def _values(path: Path, header: _Header, count: int) -> np.ndarray:
    """The values, in the order of the file."""
    kind = header.fields.get("ElementType", "")
    if kind not in _DTYPES:
        message = f"{path.name} stores its voxels as {kind or 'nothing known'!r}, which cannot be read."
        raise BadInput("not_an_image", message, "Export it again with whole numbers or floats.")
    big = header.says("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    packed = packing.ZLIB if header.says("CompressedData") else None
    told = header.fields["ElementDataFile"]
    skipped = header.fields.get("HeaderSize", "0")
    if not re.fullmatch(r"-1|[0-9]{1,30}", skipped):
        raise packing.damaged(path.name, f"its line HeaderSize is {skipped!r}")
    before = max(0, int(skipped))
    if told.upper() == "LOCAL":
        parts = [Stored(path, header.end, packed, before)]
    else:
        parts = [Stored(path.parent / name, 0, packed, before) for name in raw_voxels.listed(told, header.below)]
    as_text = "BinaryData" in header.fields and not header.says("BinaryData")
    written = raw_voxels.TEXT if as_text and packed is None else ""  # what is packed is never text, as in ITK
    dtype = np.dtype(f"{'>' if big else '<'}{_DTYPES[kind]}")
    return raw_voxels.read(path, parts, dtype, count, written=written, from_end=skipped == "-1")
