"""The DICOM series in a folder: every file is read, told or refused, none is left out without a word."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conddiffusion_uad.io import dicom_file, scan_checks
from conddiffusion_uad.io.dicom_file import text, unreadable
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.failures import BadInput, shown

if TYPE_CHECKING:
    from pydicom import Dataset

_MOST_FILES = 20_000
_MOST_NAMED = 5
_DIRECTORY = "1.2.840.10008.1.3.10"  # the SOP class of a DICOMDIR
_NO_SCANS = {"PR", "KO", "SR", "SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "REG", "DOC"}  # modalities
_SCAN_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".hdr")


@dataclass
class Series:
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


def series_in(path: Path, reading: Reading) -> list[Series]:
    """All series with images in a file, or in a folder and those in it.

    Args:
        reading: Is told which files are not DICOM.

    Raises:
        BadInput: truncated, not_an_image, not_readable, file_not_found or too_large.
    """
    found: dict[tuple[str, ...], Series] = {}
    others: list[Path] = []
    without_images: Counter[str] = Counter()
    for file in [path] if path.is_file() else _files(path):
        header = dicom_file.header(file)
        if header is None:
            others.append(file)
        elif text(header.file_meta, "MediaStorageSOPClassUID") == _DIRECTORY:
            continue
        elif (modality := text(header, "Modality")) in _NO_SCANS:
            without_images[modality] += 1
        else:
            key = tuple(text(header, keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "PatientID"))
            found.setdefault(key, Series([])).files.append((file, header))
    if not found:
        raise _nothing(path, others, without_images)
    _tell_others(others, path, reading)
    return sorted(found.values(), key=lambda series: (len(series.number), series.number, series.uid))


def _files(folder: Path) -> list[Path]:
    """All files in a folder and those in it. Raises BadInput for a link that leads nowhere, and for too many files."""
    found: list[Path] = []
    seen = {folder.resolve()}
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        inside = {name: (Path(parent) / name).resolve() for name in sorted(folders) if not name.startswith(".")}
        folders[:] = [name for name, real in inside.items() if real not in seen]  # links may lead in a circle
        seen.update(inside.values())
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


def _nothing(path: Path, others: list[Path], without_images: Counter[str]) -> BadInput:
    results = {file.parent for file in others if file.name == result_files.REPORT}
    scans = [file for file in others if file.name.lower().endswith(_SCAN_SUFFIXES)]
    scans = [file for file in scans if file.parent not in results or file.name not in result_files.POSSIBLE]
    if path.is_file():
        hint = "Choose the folder that it lies in." if path.name.upper() == "DICOMDIR" else "Choose a scan."
        return BadInput("not_an_image", f"{path.name} is not a DICOM image.", hint)
    if without_images:
        kinds = ", ".join(f"{count} of modality {modality}" for modality, count in sorted(without_images.items()))
        message = f"The DICOM files in {path} are no scans: {kinds}."
        return BadInput("not_an_image", message, "Choose the folder of the images that they belong to.")
    if results and not scans:
        return BadInput(
            "not_an_image", f"{path} holds the results of a detection.", "Choose the scan that was examined."
        )
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


def choose(found: list[Series], path: Path, reading: Reading) -> Series:
    """The series that is meant. Raises BadInput: several_series or bad_option."""
    if reading.series is not None:
        for key in ("number", "uid", "description"):
            fitting = [series for series in found if getattr(series, key) == reading.series]
            if len(fitting) == 1:
                return fitting[0]
        message = f"There is no single series {shown(reading.series)} in {path}: {_listed(found)}."
        raise BadInput("bad_option", message, "Choose one by its number, description or UID.")
    if len(found) == 1:
        return found[0]
    message = f"{path} holds {len(found)} DICOM series: {_listed(found)}."
    if len({series.uid for series in found}) < len(found):
        hint = (
            "Some have one SeriesInstanceUID but are of different patients or studies: choose the files of one of them."
        )
        raise BadInput("several_series", message, hint)
    raise BadInput("several_series", message, f"Choose one, such as --series {_keys(found)[0]}.")


def _keys(found: list[Series]) -> list[str]:
    """How each series can be chosen: by its number, where these differ."""
    numbers = [series.number for series in found]
    return numbers if len(set(numbers)) == len(found) and all(numbers) else [series.uid for series in found]


def _listed(found: list[Series]) -> str:
    listed = [
        f"{key}: {series.description} ({len(series.files)} file{'s' * (len(series.files) > 1)})"
        for key, series in zip(_keys(found), found, strict=True)
    ]
    return "; ".join(listed[:8]) + (f"; and {len(listed) - 8} more" if len(listed) > 8 else "")
