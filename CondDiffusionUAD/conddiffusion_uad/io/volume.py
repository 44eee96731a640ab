"""Reading a scan, checking that it is one, its grid in space, and writing results. Coordinates are LPS, in mm."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import nifti_file, packed_voxels, scan_checks
from conddiffusion_uad.io.dicom_folder import read_series
from conddiffusion_uad.protocol.failures import BadInput, OutputFailure

_BEHIND = 1 << 26  # bytes that are looked at behind the voxels
FORMATS = "NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) or a folder with one DICOM series"


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a 3D image lie, in SimpleITK's conventions: axes x, y, z; LPS millimeters.

    Attributes:
        size: Voxels along each axis.
        spacing: Distance of neighboring voxel centers along each axis, mm.
        origin: Center of the voxel (0, 0, 0), mm.
        direction: 3x3 matrix, row by row; column k is the unit vector of axis k.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        """Return the grid of an image."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    def blank(self, pixel: int = sitk.sitkFloat32) -> sitk.Image:
        """Return an image of zeros on this grid."""
        return self._place(sitk.Image([int(n) for n in self.size], pixel))

    def with_array(self, array_zyx: np.ndarray) -> sitk.Image:
        """Return an image on this grid with the values of an array (z, y, x). Raises ValueError for another shape."""
        if array_zyx.shape != tuple(self.size[::-1]):
            raise ValueError(f"An array of shape {array_zyx.shape} does not fit a grid of size {self.size} (x, y, z).")
        return self._place(sitk.GetImageFromArray(np.ascontiguousarray(array_zyx)))

    def to_json(self) -> dict[str, Any]:
        """Return the grid as plain JSON values."""
        return {name: list(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Grid:
        """Return the grid from plain JSON values. Raises KeyError and ValueError."""
        size = tuple(int(n) for n in values["size"])
        spacing, origin, direction = (
            tuple(float(v) for v in values[name]) for name in ("spacing", "origin", "direction")
        )
        finite = np.isfinite([*spacing, *origin, *direction]).all()
        if (len(size), len(spacing), len(origin), len(direction)) != (3, 3, 3, 9) or not finite:
            raise ValueError(f"Not a grid: {dict(values)}")
        if min(*size, *spacing) <= 0 or abs(abs(np.linalg.det(np.reshape(direction, (3, 3)))) - 1) > 0.1:
            raise ValueError(f"Not a grid: {dict(values)}")
        return cls(size, spacing, origin, direction)

    def _place(self, image: sitk.Image) -> sitk.Image:
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image


def read(path: str | os.PathLike[str], *, thin: bool = False) -> sitk.Image:
    """Read a scan and check that it is one: a 3D scalar image of finite, varying intensities.

    Args:
        path: NIfTI, NRRD or MetaImage file, or a folder that holds one DICOM series.
        thin: Whether a file may hold only a few slices, as :func:`preparation.prepare` accepts them.

    Returns:
        float32 image with its geometry in LPS millimeters. One that was read from DICOM carries the tags
        `dicom_folder.KEPT_TAGS` as metadata.

    Raises:
        BadInput: file_not_found, not_readable, not_an_image, truncated, not_3d, is_rgb, several_series,
            irregular_slices, too_large, too_small, bad_spacing, bad_direction, not_finite, all_zero, constant,
            bad_intensities or label_map.
    """
    path = Path(path)
    scan_checks.check_name(path)
    if not os.path.exists(path):  # unlike Path.exists, also of a name that is too long
        raise BadInput("file_not_found", f"There is no file {path}.", "Check the path and its spelling.")
    if not os.access(path, os.R_OK):
        raise BadInput("not_readable", f"You are not allowed to read {path}.", "Ask for access, or copy the file.")
    if not (path.is_file() or path.is_dir()):  # a pipe or a device would keep us waiting, or never end
        raise BadInput("not_an_image", f"{path} is neither a file nor a folder.", f"Accepted: {FORMATS}.")
    sitk.ProcessObject.GlobalWarningDisplayOff()  # ITK's name files, which often name patients; we check ourselves
    image = read_series(path) if path.is_dir() else _read_file(path, thin)
    scan_checks.check_intensities(image, path.name)
    return image


def write(image: sitk.Image, path: str | os.PathLike[str]) -> None:
    """Write an image as compressed NIfTI and make sure that all of it arrived.

    Raises:
        OutputFailure: cannot_write, or disk_full when only a part could be written; that part is removed.
    """
    path = Path(path)
    expected = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel() * image.GetSizeOfPixelComponent()
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        path.unlink(missing_ok=True)
        hint = "Choose a folder that you may write to."
        raise OutputFailure("cannot_write", f"{path} cannot be written.", hint) from error
    if _unpacked_bytes(path, expected) < expected:  # SimpleITK does not notice a full disk
        path.unlink(missing_ok=True)
        raise OutputFailure("disk_full", f"There is no room for {path}.", "Free disk space or choose another folder.")


def _read_file(path: Path, thin: bool) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        if nifti_file.is_nifti(path):
            nifti_file.check_begin(path)
        packed_voxels.check_place(path)
        reader.ReadImageInformation()
        scan_checks.check_header(reader, path)
        promised = nifti_file.check(path) if nifti_file.is_nifti(path) else _promised_bytes(reader)
        packed_voxels.check_whole(path, promised)
        image = reader.Execute()
    except RuntimeError as error:
        if "orthonormal" not in str(error):
            raise _unreadable(path, error) from error
        image = nifti_file.read_straightened(path)
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    image = sitk.Cast(image, sitk.sitkFloat32)
    scan_checks.check_geometry(image, path.name, thin=thin)
    return image


def _promised_bytes(reader: sitk.ImageFileReader) -> int:
    """Return how many bytes the voxels of a file take by its header."""
    one = sitk.Image([1] * reader.GetDimension(), reader.GetPixelID())
    return math.prod(reader.GetSize()) * one.GetSizeOfPixelComponent()


def _unreadable(path: Path, error: Exception) -> BadInput:
    """Return what a person should hear about a file that SimpleITK refuses."""
    text = str(error).lower()
    if "direction" in text or "determinant" in text:
        return scan_checks.bad_direction(path.name)
    if path.stat().st_size == 0 or (path.name.lower().endswith(".gz") and not _unpacked_bytes(path, 1)):
        return nifti_file.truncated(path.name)
    return BadInput("not_an_image", f"{path.name} cannot be read as an image.", f"Accepted: {FORMATS}.")


def _unpacked_bytes(path: Path, enough: int) -> int:
    """Return the number of bytes a gzip file unpacks to, counted to a bit more than `enough`; 0 when it is damaged."""
    total = 0
    try:
        with gzip.open(path, "rb") as stream:
            while total < enough + _BEHIND and (block := stream.read(1 << 22)):
                total += len(block)
    except (OSError, EOFError, zlib.error):
        return 0
    return total
