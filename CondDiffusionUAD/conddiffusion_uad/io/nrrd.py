"""Reading NRRD files, with their voxels in them or beside them. See "Definition of NRRD File Format" (Teem).

SimpleITK's reader stops at axes that are no directions in space, even of length 1, knows no bzip2, takes a scan without
orientation for one that lies along L, P, S, and fills what cannot be unpacked with zeros.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import geometry, intensities, packing, raw_voxels, scan_checks, units
from conddiffusion_uad.io.packing import Stored
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

SUFFIXES = (".nrrd", ".nhdr")
_MOST_HEADER = 1 << 20  # bytes
_END = re.compile(rb"\r?\n\r?\n")
_PACKINGS = {"raw": None, "gzip": packing.GZIP, "gz": packing.GZIP, "bzip2": packing.BZIP2, "bz2": packing.BZIP2}
_TEXTS = {**dict.fromkeys(("text", "txt", "ascii"), raw_voxels.TEXT), "hex": raw_voxels.HEX}
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
_VECTOR = re.compile(r"none|\([^)]*\)")


@dataclass(frozen=True)
class _Header:
    """What a header says.

    Attributes:
        name: Of the file, for messages.
        fields: By their names in lower case, without spaces.
        below: The lines that list the files with the voxels.
        end: The first byte after the header.
    """

    name: str
    fields: Mapping[str, str]
    below: tuple[str, ...]
    end: int


def begins(begin: bytes) -> bool:
    """Whether a file begins as NRRD files do."""
    return begin.startswith(b"NRRD")


def read(path: Path, reading: Reading) -> sitk.Image:
    """Read a file as float32 image in LPS mm; values that are no numbers stay.

    Raises:
        BadInput: truncated, not_an_image, is_rgb, not_3d, too_small, too_large, no_orientation, bad_spacing or
            bad_direction.
    """
    header = _header(path)
    sizes = _sizes(header)
    spatial = _spatial(header, sizes, reading)
    size = tuple(sizes[axis] for axis in spatial)
    scan_checks.check_shape(size, path.name, reading)
    grid = geometry.grid_of(_affine(header, spatial, reading), size, path.name, reading=reading)
    values = _values(path, header, math.prod(size)).reshape(size[::-1])
    return grid.with_array(intensities.as_float32(values, path.name, reading))


def _header(path: Path) -> _Header:
    with path.open("rb") as stream:
        head = stream.read(_MOST_HEADER)
    if not head.startswith(b"NRRD"):
        raise BadInput(
            "not_an_image", f"{path.name} has the name of a NRRD file but is none.", "Copy or export the file again."
        )
    found = _END.search(head)
    end = found.end() if found else len(head)  # a header with its voxels beside it may end with the file
    fields: dict[str, str] = {}
    below: list[str] = []
    for line in head[:end].decode("utf-8", "replace").splitlines()[1:]:
        name, colon, value = line.partition(":")
        if fields.get("datafile", "").upper().startswith("LIST"):  # which is the last field, as the standard has it
            below.append(line)
        elif colon and not line.startswith("#") and not value.startswith("="):
            fields[name.strip().lower().replace(" ", "")] = value.strip()
    if found is None and "datafile" not in fields:
        raise packing.damaged(path.name, "its header has no end")
    return _Header(path.name, fields, tuple(below), end)


def _sizes(header: _Header) -> list[int]:
    """Voxels along each axis."""
    sizes = raw_voxels.counts(header.fields.get("sizes", ""))
    if not sizes:
        raise _bad_field(header, "sizes")
    if header.fields.get("dimension", str(len(sizes))) != str(len(sizes)):
        raise _bad_field(header, "dimension")
    return sizes


def _numbers(header: _Header, field: str) -> list[float]:
    try:
        return [float(part) for part in header.fields[field].split()]
    except (KeyError, ValueError) as error:
        raise _bad_field(header, field) from error


def _bad_field(header: _Header, field: str) -> BadInput:
    return packing.damaged(header.name, f"its field {field} is {header.fields.get(field, 'missing')!r}")


def _spatial(header: _Header, sizes: list[int], reading: Reading) -> list[int]:
    """Which axes are directions in space. The others must have one entry."""
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
            if kinds[axis] not in ("time", "list", "domain", "space", "???", "none"):
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
        geometry.unplaced(header.name, said, reading)
    affine = np.eye(4)
    if directions is not None:
        vectors = [vector for axis in spatial if (vector := directions[axis]) is not None]
        affine[:3, :3] = np.stack(vectors, axis=1)
        affine[:3, 3] = _origin(header, reading)
    else:
        spacings = _numbers(header, "spacings") if "spacings" in header.fields else []
        if len(spacings) <= max(spatial):
            message = f"{header.name} does not say how large its voxels are (it has no field space directions)."
            raise BadInput("bad_spacing", message, "Convert it again from DICOM, or set its voxel spacing.")
        affine[:3, :3] = np.diag([abs(spacings[axis]) for axis in spatial])
    affine = np.diag([*(signs or (1, 1, 1)), 1]) @ affine
    told = header.fields.get("spaceunits", "").replace('"', " ").split() or [""]
    if len(set(told[:3])) > 1:
        raise _bad_field(header, "spaceunits")
    return units.in_mm(affine, told[0], header.name, reading)


def _origin(header: _Header, reading: Reading) -> np.ndarray:
    """Where the first voxel lies; at 0 where that is not told."""
    if "spaceorigin" not in header.fields:
        geometry.without_origin(header.name, "it has no field space origin", reading)
        return np.zeros(3)
    origin = _vector(header.fields["spaceorigin"])
    if origin is None or not np.isfinite(origin).all():
        raise _bad_field(header, "spaceorigin")
    return origin


def _values(path: Path, header: _Header, count: int) -> np.ndarray:
    """The values, in the order of the file."""
    kind = header.fields.get("type", "").lower()
    if kind not in _DTYPES:
        raise BadInput(
            "not_an_image", f"{path.name} stores its voxels as {kind!r}, which cannot be read.", "Export it again."
        )
    endian = header.fields.get("endian", "").lower()
    encoding = header.fields.get("encoding", "").lower()
    if encoding not in (*_PACKINGS, *_TEXTS):
        hint = "Save it again as NRRD, NIfTI or MetaImage."
        message = f"{path.name} is packed in a way (encoding {encoding!r}) that cannot be unpacked."
        raise BadInput("not_an_image", message, hint)
    dtype = np.dtype(_DTYPES[kind])
    if dtype.itemsize > 1 and endian not in ("little", "big") and _TEXTS.get(encoding) != raw_voxels.TEXT:
        raise _bad_field(header, "endian")
    skipped, lines = header.fields.get("byteskip", "0"), header.fields.get("lineskip", "0")
    for field, value, pattern in (("byteskip", skipped, "-1|[0-9]{1,30}"), ("lineskip", lines, "[0-9]{1,9}")):
        if not re.fullmatch(pattern, value):
            raise _bad_field(header, field)
    stored = Stored(path, header.end, _PACKINGS.get(encoding), max(0, int(skipped)))
    parts = [stored]
    if told := header.fields.get("datafile"):
        parts = [replace(stored, path=path.parent / name, begin=0) for name in raw_voxels.listed(told, header.below)]
    return raw_voxels.read(
        path,
        parts,
        dtype.newbyteorder(">" if endian == "big" else "<"),
        count,
        written=_TEXTS.get(encoding, ""),
        lines=int(lines),
        from_end=skipped == "-1",
    )
