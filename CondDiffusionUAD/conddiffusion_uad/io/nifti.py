"""Reading NIfTI-1, NIfTI-2 and Analyze 7.5 files, packed or not, in one file or in two.

Values come from nibabel's header classes and the file's own bytes: SimpleITK's reader turns NaN into 0 without a word,
does not look at checksums, and decides otherwise than the other programs which of the two orientations counts.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import foreign, geometry, intensities, nifti_geometry, packing, scan_checks
from conddiffusion_uad.io.grid import Grid
from conddiffusion_uad.io.packing import PackingError, Stored, whole_file
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

SUFFIXES = (".nii", ".nii.gz", ".nii.bz2", ".hdr", ".img", ".hdr.gz", ".img.gz")
_HEADER_BYTES = 544
_SIZES = {348: "<", 540: "<", int.from_bytes((348).to_bytes(4, "big"), "little"): ">", 469893120: ">"}
_MOST_BEFORE_VOXELS = 64 << 20  # bytes of header and extensions
_STATISTICS = range(2, 25)  # intent codes: the values are those of a test, not intensities
_LABELS = (1002, 1003)  # intent codes


@dataclass(frozen=True)
class _Opened:
    """A file whose header has been read.

    Attributes:
        name: What it is called in messages.
        header: nibabel's, as it is stored; nothing is mended.
        voxels: Where its voxels are.
        size: Voxels along x, y, z.
    """

    name: str
    header: Any
    voxels: Stored
    size: tuple[int, int, int]


def begins(begin: bytes) -> bool:
    """Whether a file begins, once unpacked, as NIfTI files do."""
    return _order(begin) is not None and _magic(begin) != b""


def read(path: Path, reading: Reading) -> sitk.Image:
    """Read a file.

    Args:
        path: Of the file; of two (.hdr and .img), either.

    Returns:
        float32 image in LPS mm; `nifti_geometry.FIELDS` of its header are its metadata. What is outside of the field
        of view, and no number, is NaN.

    Raises:
        BadInput: truncated, not_an_image, is_rgb, not_3d, too_small, too_large, no_orientation, geometry_contradiction,
            bad_spacing, bad_direction, or not_a_scan.
    """
    opened = _open(path, reading)
    if not reading.anything:
        _check_meaning(opened, reading)
    grid = _grid(opened, reading)
    image = grid.with_array(intensities.as_float32(_values(opened), opened.name, reading))
    image.SetMetaData(nifti_geometry.KEY, nifti_geometry.fields(opened.header))
    return image


def read_grid(path: Path, reading: Reading) -> Grid:
    """The grid that a file tells, after a look at whether it is whole. Raises BadInput as `read` does."""
    opened = _open(path, reading)
    grid = _grid(opened, reading)
    promised = opened.voxels.skipped + math.prod(opened.size) * _dtype(opened.header, opened.name).itemsize
    if opened.voxels.packing is None:
        if opened.voxels.path.stat().st_size < promised:
            raise packing.damaged(opened.name)
        return grid
    with opened.voxels.path.open("rb") as stream:  # a gzip file ends with the number of bytes that it unpacks to
        stream.seek(-4, os.SEEK_END)
        if opened.voxels.packing != packing.GZIP or int.from_bytes(stream.read(), "little") != promised % 2**32:
            _values(opened)
    return grid


def _open(path: Path, reading: Reading) -> _Opened:
    header_file, voxel_file = _files(path)
    try:
        stored = whole_file(header_file)
        begin = stored.begins(_HEADER_BYTES)
    except (OSError, PackingError) as error:
        raise packing.damaged(path.name, str(error)) from error
    if _order(begin) is None:
        message = f"{header_file.name} has the name of a NIfTI or Analyze file but is none: its header is not one."
        raise foreign.failure(header_file, message, "Copy or export the file again.")
    if len(begin) < 348:
        raise packing.damaged(header_file.name)
    header = _header(begin)
    sizes = _size(header, path.name)
    _dtype(header, path.name)
    if len(sizes) == 5 and sizes[3] < 2:
        raise scan_checks.not_one_value(path.name, sizes[4])
    size = scan_checks.check_shape(sizes, path.name, reading)
    if header_file == voxel_file and _magic(begin) in (b"ni1", b"ni2"):
        voxel_file = _partner(path, ".img")
    in_one = voxel_file == header_file
    if in_one and not _magic(begin):  # an Analyze file is two
        raise packing.damaged(path.name, f"its header says that it is {bytes(begin[344:348])!r}, not NIfTI (magic)")
    offset = float(header["vox_offset"]) if _magic(begin) else max(0.0, float(header["vox_offset"]))
    least = int(header["sizeof_hdr"]) + 4 if in_one else 0
    if not least <= offset <= _MOST_BEFORE_VOXELS or offset % 1:
        raise packing.damaged(path.name, f"its header (vox_offset) says that the voxels begin at byte {offset:.9g}")
    try:
        voxels = whole_file(voxel_file)
    except OSError as error:
        raise packing.damaged(voxel_file.name, error.strerror or "") from error
    return _Opened(path.name, header, Stored(voxels.path, 0, voxels.packing, int(offset)), size)


def _files(path: Path) -> tuple[Path, Path]:
    """The files with the header and with the voxels; they may be the same."""
    lower = path.name.lower()
    if lower.endswith((".img", ".img.gz")):
        return (path, path) if _is_one_file(path) else (_partner(path, ".hdr"), path)
    if lower.endswith((".hdr", ".hdr.gz")):
        return path, _partner(path, ".img")
    return path, path


def _is_one_file(path: Path) -> bool:
    try:
        return _magic(whole_file(path).begins(_HEADER_BYTES)) in (b"n+1", b"n+2")
    except (OSError, PackingError):
        return False


def _partner(path: Path, suffix: str) -> Path:
    """The other of two files, packed or not, in capitals or not."""
    stem = path.name[: path.name.lower().rfind(".hdr" if suffix == ".img" else ".img")]
    if path.name.lower().endswith((".nii", ".nii.gz")):
        stem = path.name[: path.name.lower().rfind(".nii")]
    wanted = {f"{stem}{suffix}".lower(), f"{stem}{suffix}.gz".lower()}
    found = sorted(other for other in path.parent.iterdir() if other.name.lower() in wanted and other.is_file())
    if not found:
        raise BadInput(
            "file_not_found",
            f"{path.name} is one of two files, and the other one, {stem}{suffix}, is not beside it.",
            "Copy both files into one folder.",
        )
    return found[0]


def _order(begin: bytes) -> str | None:
    """The byte order that the header's size tells; None when it is none."""
    return _SIZES.get(int.from_bytes(begin[:4], "little"))


def _magic(begin: bytes) -> bytes:
    """What kind of file it is: n+1, ni1, n+2 or ni2; nothing for Analyze 7.5."""
    found = begin[4:7] if int.from_bytes(begin[:4], "little") in (540, 469893120) else begin[344:347]
    return found if found in (b"n+1", b"ni1", b"n+2", b"ni2") else b""


def _header(begin: bytes) -> Any:
    """nibabel's header of these bytes, as it is stored."""
    import nibabel

    if not _magic(begin):
        return nibabel.spm99analyze.Spm99AnalyzeHeader(begin[:348], endianness=_order(begin), check=False)
    kind = nibabel.Nifti2Header if _magic(begin)[2:] == b"2" else nibabel.Nifti1Header
    size = kind.template_dtype.itemsize
    return kind(begin[:size].ljust(size, b"\0"), endianness=_order(begin), check=False)


def _size(header: Any, name: str) -> tuple[int, ...]:
    """Voxels along each axis, without the axes behind the third that hold only one (or say 0, which means the same)."""
    rank = int(header["dim"][0])
    if not 1 <= rank <= 7:
        raise packing.damaged(name, f"its header (dim[0]) says that it has {rank} axes")
    size = [int(n) for n in header["dim"][1 : rank + 1]]
    while len(size) > 3 and size[-1] in (0, 1):
        size.pop()
    if any(n < 1 for n in size):
        raise packing.damaged(name, f"its header (dim) says that it has {' x '.join(map(str, size))} voxels")
    return tuple(size)


def _check_meaning(opened: _Opened, reading: Reading) -> None:
    code = int(opened.header["intent_code"]) if "intent_code" in opened.header.keys() else 0  # noqa: SIM118 (no dict)
    if code in _STATISTICS or code in _LABELS:
        what = "labels" if code in _LABELS else "the values of a statistical test"
        message = f"{opened.name} says that its voxels are {what} (intent_code {code}), not intensities of a scan."
        reading.doubt("not_a_scan", message, "Choose the scan itself.", "the voxels are taken as intensities")


def _grid(opened: _Opened, reading: Reading) -> Grid:
    affine = nifti_geometry.affine(opened.header, opened.size, opened.name, reading)
    sheared = nifti_geometry.shear(opened.header, opened.name)
    return geometry.grid_of(geometry.FLIP @ affine, opened.size, opened.name, sheared, reading=reading)


def _values(opened: _Opened) -> np.ndarray:
    """The values (z, y, x), scaled as the header says."""
    dtype = _dtype(opened.header, opened.name)
    try:
        stored = opened.voxels.take(math.prod(opened.size) * dtype.itemsize)
    except (OSError, PackingError) as error:
        raise packing.damaged(opened.voxels.path.name, str(error)) from error
    values = np.frombuffer(stored, dtype).reshape(opened.size[::-1])
    slope, shift = _scaling(opened)
    return values if (slope, shift) == (1.0, 0.0) else values.astype(np.float64) * slope + shift


def _dtype(header: Any, name: str) -> np.dtype:
    """How a voxel is stored. Raises BadInput: is_rgb or not_an_image."""
    try:
        dtype = np.dtype(header.get_data_dtype())
    except Exception:  # nibabel's own kind
        dtype = np.dtype("V1")
    if dtype.kind == "c" or dtype.names:
        raise scan_checks.not_one_value(name, len(dtype.names or ("real", "imaginary")))
    if dtype.kind not in "iuf":
        message = f"{name} stores its voxels in a way that is not read (datatype {int(header['datatype'])})."
        raise BadInput("not_an_image", message, "Export it with whole numbers or floats of 32 bits.")
    return dtype.newbyteorder(header.endianness)


def _scaling(opened: _Opened) -> tuple[float, float]:
    """Slope and intercept of the values; a slope of 0, or one that is no number, means that they are not scaled."""
    names = opened.header.keys()
    slope = float(opened.header["scl_slope"]) if "scl_slope" in names else 1.0
    shift = float(opened.header["scl_inter"]) if "scl_inter" in names else 0.0
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0
    if not math.isfinite(shift):
        raise packing.damaged(opened.name, f"the intercept of its values (scl_inter) is {shift}")
    return slope, shift
