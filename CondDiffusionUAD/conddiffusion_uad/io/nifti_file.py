"""What SimpleITK does not tell about a NIfTI file: is all of it there and finite, are its axes nearly perpendicular.

SimpleITK's reader turns NaN into 0 without a word, and refuses axes that rounding has put off a right angle.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import scan_checks
from conddiffusion_uad.protocol.failures import BadInput

_HEADER_BYTES = 544
_NIFTI_1, _NIFTI_2 = 348, 540  # what a header begins with: its size
_MOST_BEFORE_VOXELS = 64 << 20  # bytes of header and extensions
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def is_nifti(path: Path) -> bool:
    """Whether a file's name says NIfTI, in one file or in a header and an image."""
    return path.name.lower().endswith((".nii", ".nii.gz", ".hdr", ".img", ".img.gz"))


def check_begin(path: Path) -> None:
    """Check where the voxels begin: a compressed file of some MB could have us unpack terabytes to get there.

    Raises:
        BadInput: truncated.
    """
    if path.name.lower().endswith((".img", ".img.gz")):  # has no header
        return
    try:
        with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as stream:
            head = stream.read(_HEADER_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise truncated(path.name) from error
    for order in "<>":
        if head[:4] == struct.pack(f"{order}i", _NIFTI_1) and len(head) >= 112:
            begin = struct.unpack(f"{order}f", head[108:112])[0]
        elif head[:4] == struct.pack(f"{order}i", _NIFTI_2) and len(head) >= 176:
            begin = struct.unpack(f"{order}q", head[168:176])[0]
        else:
            continue
        if not 0 <= begin <= _MOST_BEFORE_VOXELS:
            raise truncated(path.name)


def check(path: Path) -> int:
    """Check that the file holds all the voxels its header promises, and that they are finite.

    Call it after the header's promise has been found small enough to be read.

    Returns:
        The number of bytes that the voxels take in the file, unpacked.

    Raises:
        BadInput: truncated or not_finite.
    """
    import nibabel

    try:
        stored = np.asanyarray(nibabel.load(path).dataobj.get_unscaled())
    except _damages() as error:
        raise truncated(path.name) from error
    scan_checks.check_finite(stored, path.name)
    return stored.nbytes


def _damages() -> tuple[type[Exception], ...]:
    """What nibabel raises when a file is not as its header says."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    plain = (OSError, EOFError, ValueError, ArithmeticError, LookupError, TypeError, zlib.error)
    return (*plain, ImageFileError, HeaderDataError)


def truncated(name: str) -> BadInput:
    """Return the failure for a file that is not all there."""
    return BadInput("truncated", f"{name} is cut off or damaged.", "Copy or export the file again.")


def read_straightened(path: Path) -> sitk.Image:
    """Read a file whose axes SimpleITK does not accept, if they are only slightly off a right angle.

    Returns:
        float32 image; its axes are the perpendicular ones nearest to the file's.

    Raises:
        BadInput: bad_direction, not_3d, too_small, too_large, truncated or not_finite.
    """
    import nibabel

    try:
        file = nibabel.load(path)
    except _damages() as error:
        raise scan_checks.bad_direction(path.name) from error
    size = file.shape[:3] if len(file.shape) == 4 and file.shape[3] == 1 else file.shape
    scan_checks.check_shape(size, path.name)
    axes = (_RAS_TO_LPS @ file.affine)[:3]
    spacing = np.linalg.norm(axes[:, :3], axis=0)
    if not np.isfinite(axes).all() or spacing.min() <= 0:
        raise scan_checks.bad_direction(path.name)
    direction = scan_checks.straightened(axes[:, :3] / spacing, path.name)
    check(path)
    values = np.asarray(file.dataobj, np.float32).reshape(size)
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(axes[:, 3].tolist())
    image.SetDirection(direction.flatten().tolist())
    return image
