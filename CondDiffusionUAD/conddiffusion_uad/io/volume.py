"""Reading a scan, checking that it is one, and writing results. Coordinates are LPS, in mm."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import SimpleITK as sitk

from conddiffusion_uad.io import dicom_file, foreign, metaimage, nifti, nifti_geometry, nrrd, packing, scan_checks
from conddiffusion_uad.io.dicom_series import read_series
from conddiffusion_uad.io.geometry import FLIP, affine_of
from conddiffusion_uad.io.grid import Grid
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.io.outside import filled
from conddiffusion_uad.io.packed_file import PackedFile
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

__all__ = ["FORMATS", "Grid", "read", "read_grid", "read_values", "write"]

FORMATS = "NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) or a folder with one DICOM series"
_FORMATS = (dicom_file, nrrd, metaimage, nifti)
_LOOK = 544  # bytes, in which every format says what it is
_ANYTHING = Reading(accept=True, anything=True)


def read(path: str | os.PathLike[str], reading: Reading | None = None, *, thin: bool = False) -> sitk.Image:
    """Read a scan and check that it is one: a 3D scalar image of finite, varying intensities.

    Args:
        path: NIfTI, NRRD or MetaImage file, a DICOM file of several frames, or a folder that holds a DICOM series.
        reading: What was chosen and accepted, and who is told of what was assumed.
        thin: Whether a file may hold only a few slices, as `preparation.prepare` accepts them.

    Returns:
        float32 image with its geometry in LPS millimeters. Its metadata tell what is known of its contrast (the tags
        `contrast_names.TAGS`, by name) and, of NIfTI, the header's own words on its geometry.

    Raises:
        BadInput: file_not_found, not_readable, not_an_image, truncated, not_3d, is_rgb, several_series, several_stacks,
            bad_tag, irregular_slices, no_orientation, geometry_contradiction, too_large, too_small, bad_spacing,
            bad_direction, not_finite, all_zero, constant, bad_intensities, not_a_scan, label_map or bad_option.
    """
    path, reading = _checked(Path(path)), reading or Reading(thin=thin)
    if path.is_dir() or _format(path) is dicom_file:
        image = read_series(path, reading)
    else:
        reading.require_no_choice(path.name)
        image = filled(_read_file(path, reading), path.name, reading)
    scan_checks.check_intensities(image, path.name, reading)
    return image


def read_values(path: str | os.PathLike[str]) -> sitk.Image:
    """Read an image file whose values may mean anything, such as labels. Raises BadInput as `read` does."""
    return _read_file(_checked(Path(path)), _ANYTHING)


def read_grid(path: str | os.PathLike[str]) -> Grid:
    """The grid that an image file tells, its values unread where the format allows. Raises BadInput as `read` does."""
    path, reading = _checked(Path(path)), Reading(accept=True, thin=True)
    return nifti.read_grid(path, reading) if _format(path) is nifti else Grid.of(_read_file(path, reading))


def write(image: sitk.Image, path: str | os.PathLike[str], like: sitk.Image | None = None) -> None:
    """Write an image as compressed NIfTI and make sure that all of it arrived.

    Args:
        image: On the grid of `like`.
        like: The scan that it belongs to, as it was read: when that was NIfTI, the file says in the same words where
            it lies, so that every program lays them onto each other, whatever it makes of these words.

    Raises:
        OutputFailure: cannot_write, or disk_full when only a part could be written; that part is removed.
    """
    path = Path(path)
    with as_output_failure(path):
        try:
            _write(image, path, like)
        except OSError:
            path.unlink(missing_ok=True)
            raise


def _write(image: sitk.Image, path: Path, like: sitk.Image | None) -> None:
    import nibabel

    values = sitk.GetArrayViewFromImage(image).transpose(2, 1, 0)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(values.dtype)
    header.set_data_shape(values.shape)
    kept = like.GetMetaData(nifti_geometry.KEY) if like is not None and like.HasMetaDataKey(nifti_geometry.KEY) else ""
    if kept:
        nifti_geometry.restore(header, kept)
    else:
        affine = FLIP @ affine_of(Grid.of(image))
        header.set_qform(affine, 1)
        header.set_sform(affine, 1)
        header.set_xyzt_units("mm")
    with path.open("wb") as file, PackedFile(file) as packed:
        nibabel.Nifti1Image(values, None, header).to_stream(packed)


def _checked(path: Path) -> Path:
    """The path of what is there and may be read. Raises BadInput: not_readable, file_not_found or not_an_image."""
    scan_checks.check_name(path)
    if not os.path.exists(path):  # unlike Path.exists, also of a name that is too long
        if os.path.islink(path):
            hint = "Choose the scan itself; if git-annex or DataLad keeps it, fetch it with datalad get."
            raise BadInput("file_not_found", f"The link {path} leads nowhere.", hint)
        raise BadInput("file_not_found", f"There is no file {path}.", "Check the path and its spelling.")
    if not os.access(path, os.R_OK):
        raise BadInput("not_readable", f"You are not allowed to read {path}.", "Ask for access, or copy the file.")
    if not (path.is_file() or path.is_dir()):  # a pipe or a device would keep us waiting, or never end
        raise BadInput("not_an_image", f"{path} is neither a file nor a folder.", f"Accepted: {FORMATS}.")
    sitk.ProcessObject.GlobalWarningDisplayOff()  # ITK's name files, which often name patients; we check ourselves
    return path


def _read_file(path: Path, reading: Reading) -> sitk.Image:
    if path.stat().st_size == 0:
        raise BadInput("truncated", f"{path.name} is empty.", "Copy or export the file again.")
    found = _format(path)
    if found is None or found is dicom_file:
        raise foreign.failure(path, f"{path.name} cannot be read as an image.", f"Accepted: {FORMATS}.")
    return found.read(path, reading)


def _format(path: Path) -> ModuleType | None:
    """The module that reads a file: by its first bytes, packed or not, or else by its name."""
    try:
        with path.open("rb") as stream:
            begin = stream.read(_LOOK)
        unpacked = packing.whole_file(path).begins(_LOOK)
    except (OSError, packing.PackingError):
        begin = unpacked = b""
    for module in (dicom_file, nrrd, metaimage):
        if module.begins(begin):
            return module
    if nifti.begins(unpacked):
        return nifti
    named = (module for module in _FORMATS if path.name.lower().endswith(module.SUFFIXES))
    return next(named, None)
