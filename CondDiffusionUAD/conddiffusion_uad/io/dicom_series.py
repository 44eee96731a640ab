"""Reading one DICOM series, from a folder, the folders in it, or a single file of many images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io import dicom_folder, dicom_stack, scan_checks
from conddiffusion_uad.io.dicom_file import integer, item, number, text
from conddiffusion_uad.io.dicom_folder import Series
from conddiffusion_uad.io.dicom_frames import Frame, frames_of
from conddiffusion_uad.io.dicom_pixels import values_of
from conddiffusion_uad.io.outside import filled
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.io.shifted_slices import straightened
from conddiffusion_uad.protocol.contrast_names import TAGS
from conddiffusion_uad.protocol.failures import BadInput

if TYPE_CHECKING:
    from pydicom import Dataset

_MOST_NAMED = 5
_FEW = 0.1  # share of the files that may be left out
_MOST_TIMES = 4  # so many times the usual distance between images is taken for missing ones
_SHOW_BRAIN = "If the missing ones show the brain, export the whole series again."


def read_series(path: Path, reading: Reading) -> sitk.Image:
    """Read a DICOM series.

    Args:
        path: Folder, or one file.
        reading: Which series and which stack, and who is told what was left out or assumed.

    Returns:
        float32 image in LPS mm; what is known of its contrast is its metadata (`contrast_names.TAGS`, by keyword).

    Raises:
        BadInput: truncated, not_an_image, not_readable, several_series, several_stacks, bad_option, bad_tag, not_3d,
            irregular_slices, is_rgb, too_small, too_large, bad_spacing, bad_direction, bad_intensities or not_finite.
    """
    series = dicom_folder.choose(dicom_folder.series_in(path, reading), path, reading)
    name = path.name or str(path)
    frames = _frames(series, reading)
    _tell_missing(series, len(frames), name, reading)
    frames = _without_copies(frames, reading)
    stack = dicom_stack.choose(frames, name, reading)
    grid, shift = dicom_stack.grid_of(stack, name, reading)
    scan_checks.check_shape(grid.size, name, reading)
    header = next(header for file, header in series.files if file == stack.frames[0].path)
    _tell_thinned(stack.frames, grid.spacing[2], header, len(frames), reading)
    values, padding = values_of(stack.frames, name, reading)
    image = filled(grid.with_array(values), name, reading, padding)
    if any(shift):
        image = straightened(image, shift)
    if text(header, "PhotometricInterpretation") == "MONOCHROME1":
        message = f"The images in {name} are stored as negatives (PhotometricInterpretation is MONOCHROME1)."
        reading.warn("inverted", message, "They are turned around, so that more signal is brighter.")
    for keyword, told in _told(header, stack.frames[0]).items():
        image.SetMetaData(keyword, told)
    return image


def _frames(series: Series, reading: Reading) -> list[Frame]:
    """The images of a series. A few files that hold none are left out where a stack was chosen, and told."""
    frames: list[Frame] = []
    odd: list[BadInput] = []
    for file, header in series.files:
        try:
            frames += frames_of(file, header)
        except BadInput as failure:
            odd.append(failure)
    if odd and (not frames or len(odd) > max(1.0, _FEW * len(series.files))):
        raise odd[0]
    if odd and reading.echo is None:
        way_on = f" Or examine the other {len(frames)} images without it: --echo 1."
        raise BadInput(odd[0].code, odd[0].message, odd[0].hint + way_on)
    for one in odd:
        reading.warn("left_out", one.message, "It is left out.")
    return frames


def _tell_missing(series: Series, count: int, name: str, reading: Reading) -> None:
    """Tell when the series says that it has more images, or parts, than there are."""
    parts = integer(series.files[0][1], "InConcatenationTotalNumber")
    if parts and parts > len(series.files):
        message = f"The series in {name} says that it has {parts} parts (InConcatenationTotalNumber)"
        reading.warn("images_missing", f"{message}; {len(series.files)} are there.", _SHOW_BRAIN)
    promised = integer(series.files[0][1], "ImagesInAcquisition")
    if promised and promised > count:
        message = f"The series in {name} says that it has {promised} images (ImagesInAcquisition); {count} are there."
        reading.warn("images_missing", message, _SHOW_BRAIN)


def _tell_thinned(frames: Sequence[Frame], distance: float, header: Dataset, count: int, reading: Reading) -> None:
    """Tell when images seem to be missing of which no other tells: at the ends, or every second one."""
    usual = number(header, "SpacingBetweenSlices")
    times = distance / usual if usual and usual > 0 else 1.0
    if 1.5 < times <= _MOST_TIMES and abs(times - round(times)) < 0.1:
        message = f"The images lie {distance:.4g} mm apart; the tag SpacingBetweenSlices (0018,0088) says {usual:g} mm."
        reading.warn("images_missing", message, f"{round(times) - 1} of {round(times)} may be missing. {_SHOW_BRAIN}")
        return
    numbers = sorted(frame.number for frame in frames)
    steps = np.diff(numbers)
    if len(frames) == count and len({frame.path for frame in frames}) == count and min(steps, default=0) > 0:
        if 1 < numbers[0] <= count:
            message = f"The images are numbered from {numbers[0]} on (InstanceNumber (0020,0013))."
            reading.warn("images_missing", message, _SHOW_BRAIN)
        elif min(steps) > 1:
            message = f"The images have every {min(steps)}. number (InstanceNumber (0020,0013)) only."
            reading.warn("images_missing", message, _SHOW_BRAIN)


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
