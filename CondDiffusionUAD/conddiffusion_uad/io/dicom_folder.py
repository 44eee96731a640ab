"""Reading the one DICOM series of a folder as a volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import scan_checks
from conddiffusion_uad.io.dicom_lengths import lengths_fit
from conddiffusion_uad.protocol.failures import BadInput

SERIES_DESCRIPTION = "0008|103e"
PROTOCOL_NAME = "0018|1030"
KEPT_TAGS = (SERIES_DESCRIPTION, PROTOCOL_NAME)

_POSITION = "0020|0032"
_ORIENTATION = "0020|0037"
_UNEVEN = 0.1  # share of the slice distance by which one slice may be off


def read_series(folder: Path) -> sitk.Image:
    """Read the DICOM series in a folder.

    Returns:
        float32 image; `KEPT_TAGS` of its first slice are its metadata.

    Raises:
        BadInput: truncated, not_an_image, several_series, not_3d, irregular_slices, is_rgb, too_small, too_large,
            bad_spacing or bad_direction.
    """
    files = _only_series(folder)
    headers = [_header(file) for file in files]
    if len(files) > 1:
        _check_slices(headers, folder.name)
        scan_checks.check_shape((*headers[0].GetSize()[:2], len(files)), folder.name)
    else:
        scan_checks.check_header(headers[0], folder)
    try:
        image = sitk.ReadImage(files if len(files) > 1 else files[0])
    except RuntimeError as error:
        raise _unreadable(folder) from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise BadInput("is_rgb", f"The series in {folder.name} is in color.", "Choose the scan in gray values.")
    image = sitk.Cast(image, sitk.sitkFloat32)
    scan_checks.check_geometry(image, folder.name)
    for tag in KEPT_TAGS:
        if headers[0].HasMetaDataKey(tag):
            image.SetMetaData(tag, headers[0].GetMetaData(tag).strip())
    return image


def _only_series(folder: Path) -> list[str]:
    _check_lengths(folder)
    try:
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    except RuntimeError as error:
        raise _unreadable(folder) from error
    if not series:
        hint = "Choose the folder that directly contains the DICOM slices, or a NIfTI, NRRD or MetaImage file."
        raise BadInput("not_an_image", f"There is no DICOM series in {folder}.", hint)
    named = [sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in series]
    if len(named) > 1:
        listed = "; ".join(f"{_describe(files[0])} ({len(files)} files)" for files in named[:8])
        raise BadInput(
            "several_series",
            f"{folder} holds {len(named)} DICOM series: {listed}.",
            "Move the series you want into a folder of its own, or load the study in Slicer.",
        )
    return list(named[0])


def _check_lengths(folder: Path) -> None:
    """Raise BadInput("truncated") when a file claims more than it has."""
    for file in sorted(folder.iterdir()):
        scan_checks.check_name(file)
        try:
            fits = not file.is_file() or lengths_fit(file)
        except OSError as error:
            raise _unreadable(file) from error
        if not fits:
            raise BadInput("truncated", f"{file.name} is cut off or damaged.", "Copy or export the series again.")


def _header(file: str) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(Path(file)) from error
    return reader


def _describe(file: str) -> str:
    reader = _header(file)
    return reader.GetMetaData(SERIES_DESCRIPTION).strip() if reader.HasMetaDataKey(SERIES_DESCRIPTION) else "unnamed"


def _check_slices(headers: list[sitk.ImageFileReader], name: str) -> None:
    """Raise BadInput unless the slices follow each other at one distance, each place once."""
    if not all(header.HasMetaDataKey(_POSITION) and header.HasMetaDataKey(_ORIENTATION) for header in headers):
        return
    try:
        positions = np.array([_numbers(header, _POSITION) for header in headers])
        row, column = np.array(_numbers(headers[0], _ORIENTATION)).reshape(2, 3)
        steps = np.abs(np.diff(positions @ np.cross(row, column)))
    except ValueError as error:  # not numbers, or not three
        raise _irregular(name) from error
    if steps.min() < 1e-3:
        hint = "Export one volume (one time point, one echo) into a folder of its own."
        raise BadInput("not_3d", f"The series in {name} shows the same slice several times.", hint)
    if not np.abs(steps - np.median(steps)).max() <= _UNEVEN * np.median(steps):  # so NaN is uneven too
        raise _irregular(name)


def _irregular(name: str) -> BadInput:
    hint = "Export the series again; a slice may be missing."
    return BadInput("irregular_slices", f"The slices in {name} are not evenly spaced.", hint)


def _numbers(header: sitk.ImageFileReader, tag: str) -> list[float]:
    return [float(part) for part in header.GetMetaData(tag).split("\\")]


def _unreadable(path: Path) -> BadInput:
    return BadInput("not_an_image", f"{path.name} cannot be read as DICOM.", "Copy or export the series again.")
