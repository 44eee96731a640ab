"""Are the voxels of a compressed file whole, and are they in a file at all?

All formats keep a checksum of what they compress, at which SimpleITK's readers do not look, or not always: they fill
what cannot be unpacked with zeros or with wrong values, without a word. NRRD and MetaImage files may also have their
voxels in another file, which may be a pipe or a device that is never read to its end.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from conddiffusion_uad.protocol.failures import BadInput

_MOST_HEADER = 1 << 20  # bytes
_CHUNK = 1 << 20
_MOST_SKIPPED = 1 << 26  # bytes that may precede the voxels
_MOST_MORE = 2 * _MOST_SKIPPED  # bytes that may precede and follow them
_GZIP_BEGIN = b"\x1f\x8b"
_GZIP, _ANY = 31, 47  # what zlib shall expect: a gzip file; either that or its own format
_NRRD_END = re.compile(rb"\r?\n\r?\n")
_META_END = re.compile(rb"^ElementDataFile\s*=\s*(.*?)\r?\n", re.MULTILINE)


@dataclass(frozen=True)
class _Stored:
    """Where the voxels are.

    Attributes:
        path: Of the file.
        begin: The first byte of the voxels in it.
        packing: What zlib shall expect; None when they are not compressed by it.
        skipped: Bytes before the voxels, once unpacked.
    """

    path: Path
    begin: int
    packing: int | None
    skipped: int = 0


def check_place(path: Path) -> None:
    """Check where a NRRD or MetaImage file has its voxels; call it before anything else reads it, which could wait.

    Raises:
        BadInput: truncated, or not_an_image when the voxels are in no plain file.
    """
    for part in _parts(path):
        if part.path.exists() and not part.path.is_file():
            raise BadInput("not_an_image", f"{path.name} has its voxels in no file.", "Export the scan again.")
        if part.skipped > _MOST_SKIPPED:
            raise _damaged(path)


def check_whole(path: Path, voxel_bytes: int) -> None:
    """Check that compressed voxels are whole.

    Args:
        path: Of the file, whose header has been found acceptable.
        voxel_bytes: How many bytes the header promises.

    Raises:
        BadInput: truncated.
    """
    parts = _parts(path)
    if len(parts) == 1 and parts[0].packing is not None and not _is_whole(parts[0], voxel_bytes):
        raise _damaged(path)


def _damaged(path: Path) -> BadInput:
    return BadInput("truncated", f"{path.name} is cut off or damaged.", "Copy or export the file again.")


def _parts(path: Path) -> list[_Stored]:
    """Where the voxels of a file are; nothing of a format that is not known to compress them."""
    ending = path.suffix.lower()
    if path.name.lower().endswith((".nii.gz", ".img.gz")):
        return [_Stored(path, 0, _GZIP)]
    if ending in (".nrrd", ".nhdr"):
        return _of_nrrd(path)
    return _of_metaimage(path) if ending in (".mha", ".mhd") else []


def _of_nrrd(path: Path) -> list[_Stored]:
    """See "Definition of NRRD File Format", sections 1 and 5."""
    head = _head(path)
    found = _NRRD_END.search(head)
    end = found.end() if found else len(head)
    fields, names = {}, []
    for line in head[:end].decode("latin-1").splitlines():
        name, colon, value = line.partition(": ")
        if "data file" in fields or "datafile" in fields:
            names.append(line.strip())
        elif colon:
            fields[name.strip().lower()] = value.strip()
    packing = _GZIP if fields.get("encoding", "").lower() in ("gz", "gzip") else None
    if "line skip" in fields:  # lines of what is packed
        packing = None
    digits = fields.get("byte skip", fields.get("byteskip", "0"))
    skipped = int(digits) if re.fullmatch(r"[0-9]{1,30}", digits) else 0
    file = fields.get("data file") or fields.get("datafile")
    if file is None:
        return [_Stored(path, end, packing, skipped)]
    listed = [name for name in names if name] if file.upper().startswith("LIST") else [file]
    return [_Stored(path.parent / name, 0, packing, skipped) for name in listed]


def _of_metaimage(path: Path) -> list[_Stored]:
    """See "MetaIO/Documentation", section "MetaImage tags"."""
    head = _head(path)
    found = _META_END.search(head + b"\n")
    if found is None:
        return []
    packed = re.search(rb"^CompressedData\s*=\s*[Tt1]", head[: found.start()], re.MULTILINE)
    packing, file = (_ANY if packed else None), found[1].decode("utf-8", "replace").strip()
    if file.upper() == "LOCAL":
        return [_Stored(path, found.end(), packing)]
    names = head[found.end() :].decode("utf-8", "replace").split()
    listed = names if file.upper().startswith("LIST") else [file]
    return [_Stored(path.parent / name, 0, packing) for name in listed]


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_MOST_HEADER)


def _is_whole(part: _Stored, voxel_bytes: int) -> bool:
    """Whether the voxels can be unpacked to the end, are as many as promised, and agree with their checksums."""
    unpacker, total, least = zlib.decompressobj(part.packing), 0, part.skipped + voxel_bytes
    try:
        with part.path.open("rb") as stream:
            stream.seek(part.begin)
            while data := unpacker.unconsumed_tail or unpacker.unused_data or stream.read(_CHUNK):
                if unpacker.eof:
                    if not data.startswith(_GZIP_BEGIN):
                        break
                    unpacker = zlib.decompressobj(part.packing)  # the file has several parts, as pigz makes them
                total += len(unpacker.decompress(data, _CHUNK))
                if total > least + _MOST_MORE:
                    return False
    except (OSError, zlib.error):
        return False
    return unpacker.eof and total >= least
