"""Reading one DICOM series, from a folder, the folders in it, or a single file of many images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import SimpleITK as sitk

from conddiffusion_uad.io import dicom_file, dicom_stack, scan_checks
from conddiffusion_uad.io.dicom_file import item, text, unreadable
from conddiffusion_uad.io.dicom_frames import Frame, frames_of
from conddiffusion_uad.io.dicom_pixels import values_of
from conddiffusion_uad.io.outside import filled
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.contrast_names import TAGS
from conddiffusion_uad.protocol.failures import BadInput

if TYPE_CHECKING:
    from pydicom import Dataset

_MOST_FILES = 20_000
_MOST_NAMED = 5
_DIRECTORY = "1.2.840.10008.1.3.10"  # the SOP class of a DICOMDIR
_NO_SCANS = {"PR", "KO", "SR", "SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "REG", "DOC"}  # modalities
_SCAN_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".hdr")


@dataclass
class _Series:
    """The files of one series with their headers."""

    files: list[tuple[Path, Dataset]]

    @property
    def number(self) -> str:
        return text(self.files[0][1], "SeriesNumber")

    @property
    def uid(self) -> str:
        return text(self.files[0][1], "SeriesInstanceUID")

    @property
    def description(self) -> str:
        return text(self.files[0][1], "SeriesDescription") or text(self.files[0][1], "ProtocolName") or "unnamed"


def read_series(path: Path, reading: Reading) -> sitk.Image:
    """Read a DICOM series.

    Args:
        path: Folder, or one file.
        reading: Which series and which stack, and who is told what was left out or assumed.

    Returns:
        float32 image in LPS mm; what is known of its contrast is its metadata (`contrast_names.TAGS`, by keyword).

    Raises:
        BadInput: truncated, not_an_image, not_readable, several_series, several_stacks, bad_option, bad_tag, not_3d,
            irregular_slices, is_rgb, too_small, too_large, bad_spacing, bad_direction or not_finite.
    """
    series = _chosen(_found(path, reading), path, reading)
    name = path.name or str(path)
    frames = [frame for file, header in series.files for frame in frames_of(file, header)]
    _check_count(series, len(frames), name, reading)
    frames = _without_copies(frames, reading)
    stack = dicom_stack.choose(frames, name, reading)
    grid = dicom_stack.grid_of(stack, name)
    scan_checks.check_shape(grid.size, name, reading)
    values, padding = values_of(stack.frames)
    image = filled(grid.with_array(values), name, reading, padding)
    header = next(header for file, header in series.files if file == stack.frames[0].path)
    if text(header, "PhotometricInterpretation") == "MONOCHROME1":
        message = f"The images in {name} are stored as negatives (PhotometricInterpretation is MONOCHROME1)."
        reading.warn("inverted", message, "They are turned around, so that more signal is brighter.")
    for keyword, told in _told(header, stack.frames[0]).items():
        image.SetMetaData(keyword, told)
    return image


def _found(path: Path, reading: Reading) -> list[_Series]:
    """All series with images below a path."""
    found: dict[str, _Series] = {}
    others: list[Path] = []
    for file in [path] if path.is_file() else _files(path):
        header = dicom_file.header(file)
        if header is None:
            others.append(file)
        elif not _is_directory(header) and text(header, "Modality") not in _NO_SCANS:
            found.setdefault(text(header, "SeriesInstanceUID"), _Series([])).files.append((file, header))
    if not found:
        raise _nothing(path, others)
    _tell_others(others, path, reading)
    return sorted(found.values(), key=lambda series: (len(series.number), series.number, series.uid))


def _is_directory(header: Dataset) -> bool:
    return text(header.file_meta, "MediaStorageSOPClassUID") == _DIRECTORY


def _files(folder: Path) -> list[Path]:
    """All files in a folder and those in it. Raises BadInput for a link that leads nowhere, and for too many files."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(parent) / name
            scan_checks.check_name(file)
            if name.startswith(".") or name.lower() == "thumbs.db":
                continue
            if not file.exists():
                hint = "Copy the files themselves into the folder."
                raise BadInput("file_not_found", f"{name} in {folder.name} is a link that leads nowhere.", hint)
            if file.is_file():
                found.append(file)
        if len(found) > _MOST_FILES:
            message = f"{folder} holds more than {_MOST_FILES} files."
            raise BadInput("too_large", message, "Choose the folder of one study or series.")
    return found


def _raise(error: OSError) -> None:
    raise unreadable(Path(str(error.filename)), error.strerror or "") from error


def _nothing(path: Path, others: list[Path]) -> BadInput:
    scans = [file for file in others if file.name.lower().endswith(_SCAN_SUFFIXES)]
    if path.is_file():
        hint = "Choose the folder that it lies in." if path.name.upper() == "DICOMDIR" else "Choose a scan."
        return BadInput("not_an_image", f"{path.name} is not a DICOM image.", hint)
    if scans:
        message = f"There is no DICOM series in {path}, but there are other scans, such as {scans[0].name}."
        return BadInput("not_an_image", message, "Choose one of these files.")
    hint = "Choose the folder that contains the DICOM images, or a NIfTI, NRRD or MetaImage file."
    return BadInput("not_an_image", f"There is no DICOM series in {path}.", hint)


def _tell_others(others: list[Path], path: Path, reading: Reading) -> None:
    """Refuse empty files and those that say that they are DICOM; tell of others that are not."""
    for file in others:
        if dicom_file.is_dicom(file) or file.stat().st_size == 0:
            raise unreadable(file, "it is empty" if file.stat().st_size == 0 else "it is not DICOM")
    if others:
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        named = ", ".join(file.name for file in others[:_MOST_NAMED])
        message = f"Some files in {path.name} are not DICOM: {named}{more}."
        reading.warn("other_files", message, "They are left out; if one is an image of the series, export it again.")


def _chosen(found: list[_Series], path: Path, reading: Reading) -> _Series:
    """The series that is meant. Raises BadInput: several_series or bad_option."""
    if reading.series is not None:
        for key in ("number", "uid", "description"):
            fitting = [series for series in found if getattr(series, key) == reading.series]
            if len(fitting) == 1:
                return fitting[0]
        message = f"There is no single series {reading.series!r} in {path}: {_listed(found)}."
        raise BadInput("bad_option", message, "Choose one by its number, description or UID.")
    if len(found) == 1:
        return found[0]
    unique = len({series.number for series in found}) == len(found) and found[0].number
    example = found[0].number if unique else found[0].uid
    message = f"{path} holds {len(found)} DICOM series: {_listed(found)}."
    raise BadInput("several_series", message, f"Choose one, such as --series {example}.")


def _listed(found: Sequence[_Series]) -> str:
    numbers = [series.number for series in found]
    keys = numbers if len(set(numbers)) == len(found) and all(numbers) else [series.uid for series in found]
    listed = [
        f"{key}: {series.description} ({len(series.files)} files)" for key, series in zip(keys, found, strict=True)
    ]
    return "; ".join(listed[:8]) + (f"; and {len(listed) - 8} more" if len(listed) > 8 else "")


def _check_count(series: _Series, count: int, name: str, reading: Reading) -> None:
    """Tell when the series says that it has more images than there are."""
    promised = dicom_file.number(series.files[0][1], "ImagesInAcquisition", int)
    if promised and promised > count:
        message = f"The series in {name} says that it has {promised} images (ImagesInAcquisition); {count} are there."
        reading.warn("images_missing", message, "If the missing ones show the brain, export the whole series again.")


def _without_copies(frames: list[Frame], reading: Reading) -> list[Frame]:
    """The images without those of files that are copies of others, byte by byte; they are told."""
    kept: dict[tuple[str, int], Frame] = {}
    copies: set[str] = set()
    result = []
    for frame in frames:
        twin = kept.setdefault((frame.uid, frame.index), frame)
        if twin is not frame and frame.uid and twin.path.read_bytes() == frame.path.read_bytes():
            copies.add(frame.path.name)
            continue
        result.append(frame)
    if copies:
        named = ", ".join(sorted(copies)[:_MOST_NAMED])
        message = f"Some files of the series are copies of others: {named}."
        reading.warn("copies", message, "They are left out.")
    return result


def _told(header: Dataset, frame: Frame) -> dict[str, str]:
    """What the header tells of the contrast, by keyword."""
    told = {keyword: text(header, keyword) for keyword in TAGS}
    if not told.get("ContrastBolusAgent") and item(header, "ContrastBolusAgentSequence") is not None:
        told["ContrastBolusAgent"] = text(item(header, "ContrastBolusAgentSequence"), "CodeMeaning") or "given"
    for mark, keyword in (("echo time", "EchoTime"), ("inversion time", "InversionTime"), ("image type", "ImageType")):
        if not told.get(keyword) and mark in frame.marks:
            told[keyword] = frame.marks[mark].removesuffix(" ms")
    if not told.get("DiffusionBValue") and "b-value" in frame.marks:
        told["DiffusionBValue"] = frame.marks["b-value"].split()[0]
    return {keyword: value for keyword, value in told.items() if value}
