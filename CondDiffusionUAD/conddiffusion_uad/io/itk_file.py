"""Reading MetaImage files, and whatever else SimpleITK knows."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import geometry, packing, scan_checks
from conddiffusion_uad.io.packing import PackingError, Stored
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

_MOST_HEADER = 1 << 20  # bytes
_FILE = re.compile(rb"^ElementDataFile\s*=\s*(.*?)\r?\n", re.MULTILINE)
_PACKED = re.compile(rb"^CompressedData\s*=\s*[Tt1]", re.MULTILINE)
_PLACED = re.compile(rb"^(TransformMatrix|Orientation|Rotation)\s*=", re.MULTILINE)
_ASSUMED = "its axes are taken to run to the left, to the back and up, as in ITK"


def is_metaimage(path: Path) -> bool:
    """Whether a file begins as MetaImage files do, or has the name of one."""
    with path.open("rb") as stream:
        begin = stream.read(256)
    return path.suffix.lower() in (".mha", ".mhd") or bool(re.match(rb"(ObjectType|NDims|Comment)\s*=", begin))


def read(path: Path, reading: Reading) -> sitk.Image:
    """Read a MetaImage file as float32 image in LPS mm; values that are no numbers stay.

    Raises:
        BadInput: truncated, not_an_image, is_rgb, not_3d, too_small, too_large, no_orientation, bad_spacing or
            bad_direction.
    """
    with path.open("rb") as stream:
        head = stream.read(_MOST_HEADER)
    found = _FILE.search(head + b"\n")
    if found is None:
        message = f"{path.name} has the name of a MetaImage file but is none: it has no line ElementDataFile."
        raise BadInput("not_an_image", message, "Copy or export the file again.")
    parts = _parts(path, head, found)
    packing.check_place(path, parts)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("MetaImageIO")  # whatever the name's suffix is
    try:
        reader.ReadImageInformation()
        _check_header(reader, path.name, reading)
        if len(parts) == 1:
            _check_whole(parts[0], _promised_bytes(reader))
        image = reader.Execute()
    except PackingError as error:
        raise packing.damaged(path.name, str(error)) from error
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    if not _PLACED.search(head[: found.start()]):
        message = f"{path.name} does not say how it lies in the patient (it has no line TransformMatrix)."
        reading.doubt("no_orientation", message, "Convert it again from DICOM, or set its orientation.", _ASSUMED)
    image = _three_axes(image)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    grid = geometry.grid_of(affine, image.GetSize(), path.name, reading=reading)
    return grid.with_array(sitk.GetArrayFromImage(sitk.Cast(image, sitk.sitkFloat32)))


def _parts(path: Path, head: bytes, found: re.Match[bytes]) -> list[Stored]:
    """Where the voxels are. See "MetaIO/Documentation", section "MetaImage tags"."""
    packed = packing.ZLIB if _PACKED.search(head[: found.start()]) else None
    file = found[1].decode("utf-8", "replace").strip()
    if file.upper() == "LOCAL":
        return [Stored(path, found.end(), packed)]
    listed = file.upper().startswith("LIST")
    names = head[found.end() :].decode("utf-8", "replace").split() if listed else [file]
    if not listed and "%" in file:  # a pattern of names
        return []
    return [Stored(path.parent / name, 0, packed) for name in names]


def _check_header(reader: sitk.ImageFileReader, name: str, reading: Reading) -> None:
    if reader.GetNumberOfComponents() != 1 or "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise scan_checks.not_one_value(name, reader.GetNumberOfComponents())
    size = list(reader.GetSize())
    while len(size) > 3 and size[-1] == 1:
        size.pop()
    scan_checks.check_shape(tuple(size), name, reading)


def _three_axes(image: sitk.Image) -> sitk.Image:
    """The image without the axes behind the third, each of length 1."""
    while image.GetDimension() > 3:
        size = list(image.GetSize())
        image = sitk.Extract(image, [*size[:-1], 0], [0] * len(size))
    return image


def _check_whole(part: Stored, promised: int) -> None:
    """Raise PackingError unless the voxels are all there."""
    if part.packing is not None:
        part.take(promised)
    elif part.path.stat().st_size - part.begin < promised:
        raise PackingError


def _promised_bytes(reader: sitk.ImageFileReader) -> int:
    """How many bytes the voxels of a file take by its header."""
    one = sitk.Image([1] * reader.GetDimension(), reader.GetPixelID())
    return math.prod(reader.GetSize()) * one.GetSizeOfPixelComponent()


def _unreadable(path: Path, error: Exception) -> BadInput:
    """What a person should hear about a file that SimpleITK refuses."""
    text = str(error).lower()
    if "direction" in text or "determinant" in text or "orthonormal" in text:
        return geometry.bad_direction(path.name)
    hint = "Copy or export the file again, or save it as NIfTI or NRRD."
    return BadInput("truncated", f"{path.name} is cut off, damaged or not a MetaImage file that can be read.", hint)
