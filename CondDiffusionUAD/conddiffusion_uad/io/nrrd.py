"""Reading NRRD files, with their voxels in them or beside them. See "Definition of NRRD File Format" (Teem).

SimpleITK's reader stops at axes that are no directions in space, even of length 1, knows no bzip2, takes a scan without
orientation for one that lies along L, P, S, and fills what cannot be unpacked with zeros.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import geometry, packing, scan_checks
from conddiffusion_uad.io.packing import PackingError, Stored
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

_MOST_HEADER = 1 << 20  # bytes
_END = re.compile(rb"\r?\n\r?\n")
_PACKINGS = {"raw": None, "gzip": packing.GZIP, "gz": packing.GZIP, "bzip2": packing.BZIP2, "bz2": packing.BZIP2}
_TEXTS = ("text", "txt", "ascii", "hex")
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_DTYPES = {name: dtype for dtype, names in _TYPES.items() for name in names}
_SPACES = {  # to LPS
    "right-anterior-superior": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "left-posterior-superior": (1, 1, 1),
}
_SHORT = {"ras": "right-anterior-superior", "las": "left-anterior-superior", "lps": "left-posterior-superior"}
_UNITS = {"m": 1000.0, "cm": 10.0, "um": 0.001, "µm": 0.001}
_VECTOR = re.compile(r"none|\([^)]*\)")
_ASSUMED = "its axes are taken to run to the left, to the back and up, as in ITK"


@dataclass(frozen=True)
class _Header:
    """What a header says.

    Attributes:
        name: Of the file, for messages.
        fields: By their names in lower case, without spaces.
        files: Of the voxels, as far as they are listed below the header.
        end: The first byte after the header.
    """

    name: str
    fields: Mapping[str, str]
    files: tuple[str, ...]
    end: int


def is_nrrd(path: Path) -> bool:
    """Whether a file begins as NRRD files do, or has the name of one."""
    with path.open("rb") as stream:
        return stream.read(4) == b"NRRD" or path.suffix.lower() in (".nrrd", ".nhdr")


def read(path: Path, reading: Reading) -> sitk.Image:
    """Read a file as float32 image in LPS mm; values that are no numbers stay.

    Raises:
        BadInput: truncated, not_an_image, is_rgb, not_3d, too_small, too_large, no_orientation, bad_spacing or
            bad_direction.
    """
    header = _header(path)
    sizes = _numbers(header, "sizes", int)
    spatial = _spatial(header, sizes, reading)
    size = tuple(sizes[axis] for axis in spatial)
    scan_checks.check_shape(size, path.name, reading)
    grid = geometry.grid_of(_affine(header, spatial, reading), size, path.name, reading=reading)
    with np.errstate(over="ignore"):
        return grid.with_array(_values(path, header, math.prod(size)).reshape(size[::-1]).astype(np.float32))


def _header(path: Path) -> _Header:
    with path.open("rb") as stream:
        head = stream.read(_MOST_HEADER)
    if not head.startswith(b"NRRD"):
        raise BadInput(
            "not_an_image", f"{path.name} has the name of a NRRD file but is none.", "Copy or export the file again."
        )
    found = _END.search(head)
    end = found.end() if found else len(head)  # a header with its voxels beside it may end with the file
    fields, files = {}, []
    for line in head[:end].decode("utf-8", "replace").splitlines()[1:]:
        name, colon, value = line.partition(": ")
        if "datafile" in fields:
            files.append(line.strip())
        elif colon and not line.startswith("#") and ":=" not in line.partition(" ")[0]:
            fields[name.strip().lower().replace(" ", "")] = value.strip()
    if found is None and "datafile" not in fields:
        raise packing.damaged(path.name, "its header has no end")
    return _Header(path.name, fields, tuple(file for file in files if file), end)


def _numbers(header: _Header, field: str, kind: type = float) -> list:
    try:
        return [kind(part) for part in header.fields[field].split()]
    except (KeyError, ValueError) as error:
        raise _bad_field(header, field) from error


def _bad_field(header: _Header, field: str) -> BadInput:
    return packing.damaged(header.name, f"its field {field} is {header.fields.get(field, 'missing')!r}")


def _spatial(header: _Header, sizes: list[int], reading: Reading) -> list[int]:
    """Which axes are directions in space. The others must have one entry."""
    if any(size < 1 for size in sizes):
        raise _bad_field(header, "sizes")
    kinds = header.fields.get("kinds", "").lower().split()
    kinds = kinds if len(kinds) == len(sizes) else ["???"] * len(sizes)
    directions = _directions(header)
    if directions is not None and len(directions) != len(sizes):
        raise _bad_field(header, "spacedirections")
    if directions is not None:
        spatial = [axis for axis, direction in enumerate(directions) if direction is not None]
    else:
        spatial = [axis for axis, kind in enumerate(kinds) if kind in ("domain", "space", "???")]
    for axis in reversed(range(len(sizes))):  # four directions in space, of which one is only there to be there
        if len(spatial) > 3 and axis in spatial and sizes[axis] == 1:
            spatial.remove(axis)
    for axis, size in enumerate(sizes):
        if axis not in spatial and size > 1:
            if axis == 0 and kinds[axis] not in ("time", "list"):
                raise scan_checks.not_one_value(header.name, size)
            scan_checks.check_shape((*[sizes[n] for n in spatial], size), header.name, reading)
    return spatial


def _directions(header: _Header) -> list[np.ndarray | None] | None:
    """One vector an axis, None for an axis that is no direction in space; None when there are none at all."""
    if "spacedirections" not in header.fields:
        return None
    return [_vector(text) for text in _VECTOR.findall(header.fields["spacedirections"])]


def _vector(text: str) -> np.ndarray | None:
    """A vector "(a,b,c)"; None for "none", and one that is no number for what is no vector."""
    if text == "none":
        return None
    try:
        values = [float(part) for part in text.strip("() ").split(",")]
    except ValueError:
        return np.full(3, np.nan)
    return np.array(values[:3]) if len(values) >= 3 else np.full(3, np.nan)


def _affine(header: _Header, spatial: list[int], reading: Reading) -> np.ndarray:
    """The 4x4 matrix from voxel indices to LPS mm."""
    directions = _directions(header)
    space = header.fields.get("space", "").lower().removesuffix("-time")
    signs = _SPACES.get(_SHORT.get(space, space))
    if directions is None or signs is None:
        missing = "space directions" if directions is None else "space"
        said = f"its field space is {space!r}" if space and directions is not None else f"it has no field {missing}"
        message = f"{header.name} does not say how it lies in the patient ({said}), so left and right are not known."
        reading.doubt("no_orientation", message, "Convert it again from DICOM, or set its orientation.", _ASSUMED)
    affine = np.eye(4)
    if directions is not None:
        affine[:3, :3] = np.stack([directions[axis] for axis in spatial], axis=1)
        affine[:3, 3] = origin if (origin := _vector(header.fields.get("spaceorigin", "(0,0,0)"))) is not None else 0
    else:
        spacings = _numbers(header, "spacings") if "spacings" in header.fields else [1.0] * (max(spatial) + 1)
        affine[:3, :3] = np.diag([abs(spacings[axis]) for axis in spatial])
    affine = np.diag([*(signs or (1, 1, 1)), 1]) @ affine
    unit = header.fields.get("spaceunits", "").replace('"', " ").split()
    if unit and unit[0] in _UNITS:
        message = f"{header.name} gives its lengths in {unit[0]} (space units)."
        hint = "They are converted; programs that do not look at the unit find the scan in another size."
        reading.warn("geometry_contradiction", message, hint)
        affine = np.diag([_UNITS[unit[0]]] * 3 + [1.0]) @ affine
    return affine


def _values(path: Path, header: _Header, count: int) -> np.ndarray:
    """The values, in the order of the file."""
    kind = header.fields.get("type", "").lower()
    if kind not in _DTYPES:
        raise BadInput(
            "not_an_image", f"{path.name} stores its voxels as {kind!r}, which cannot be read.", "Export it again."
        )
    order = ">" if header.fields.get("endian", "little").lower() == "big" else "<"
    dtype = np.dtype(f"{order}{_DTYPES[kind]}")
    encoding = header.fields.get("encoding", "").lower()
    if encoding not in (*_PACKINGS, *_TEXTS):
        hint = "Save it again as NRRD, NIfTI or MetaImage."
        message = f"{path.name} is packed in a way (encoding {encoding!r}) that cannot be unpacked."
        raise BadInput("not_an_image", message, hint)
    parts = _parts(path, header, _PACKINGS.get(encoding))
    packing.check_place(path, parts)
    if count % len(parts):
        raise packing.damaged(path.name, f"{count} voxels cannot be in {len(parts)} files")
    each = count // len(parts)
    try:
        if encoding in _TEXTS:
            return np.concatenate([_of_text(part, encoding, dtype, each) for part in parts])
        return np.concatenate([np.frombuffer(_placed(part, header, each * dtype.itemsize), dtype) for part in parts])
    except (OSError, ValueError) as error:
        raise packing.damaged(path.name, str(error)) from error


def _parts(path: Path, header: _Header, packed: str | None) -> list[Stored]:
    """Where the voxels are, one file after the other."""
    digits = header.fields.get("byteskip", "0")
    skipped = int(digits) if re.fullmatch(r"[0-9]{1,30}", digits) else 0
    file = header.fields.get("datafile")
    if file is None:
        return [Stored(path, header.end, packed, skipped)]
    names = [file]
    if file.upper().startswith("LIST"):
        names = list(header.files)
    elif found := re.fullmatch(r"(.*%0?\d*d.*?) +(-?\d{1,6}) +(-?\d{1,6}) +(-?\d{1,6})(?: +\d+)?", file):
        first, last, step = (int(number) for number in found.groups()[1:])
        names = [found[1] % number for number in range(first, last + (1 if step > 0 else -1), step or 1)]
    if not names:
        raise _bad_field(header, "datafile")
    return [Stored(path.parent / name, 0, packed, skipped) for name in names]


def _placed(part: Stored, header: _Header, count: int) -> bytearray:
    """The bytes of the voxels; lines to be skipped come before what is packed."""
    begin = part.begin
    if header.fields.get("byteskip") == "-1" and part.packing is None:
        begin = part.path.stat().st_size - count
        if begin < 0:
            raise PackingError("it is too short")
    with part.path.open("rb") as stream:
        stream.seek(begin)
        for _ in range(min(int(header.fields.get("lineskip", "0")), 10_000)):
            stream.readline(_MOST_HEADER)
        return Stored(part.path, stream.tell(), part.packing, part.skipped).take(count)


def _of_text(part: Stored, encoding: str, dtype: np.dtype, count: int) -> np.ndarray:
    text = bytes(Stored(part.path, part.begin).begins(count * 32 + _MOST_HEADER)).decode("ascii", "replace")
    if encoding == "hex":
        return np.frombuffer(bytes.fromhex("".join(text.split())), dtype)[:count]
    values = np.array(text.split(), float)
    if len(values) < count:
        raise PackingError(f"it has {len(values)} of {count} values")
    return values[:count].astype(dtype)
