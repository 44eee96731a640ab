"""The images of DICOM files, one by one: where each lies, how its values are scaled, what tells it from others.

A classic file holds one; an enhanced one holds many, and says of each, or of all together, in functional groups (PS3.3
C.7.6.16) what a classic file says in its own elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from conddiffusion_uad.io.dicom_file import bad_tag, integer, item, keyword_for, numbers, text
from conddiffusion_uad.protocol import stacks
from conddiffusion_uad.protocol.failures import BadInput

if TYPE_CHECKING:
    from pydicom import Dataset

# What tells images of one place apart: the group that holds it in an enhanced file, and its keyword there.
_IN_GROUPS = {
    "echo time": ("MREchoSequence", "EffectiveEchoTime"),
    "image type": ("MRImageFrameTypeSequence", "FrameType"),
    "component": ("MRImageFrameTypeSequence", "ComplexImageComponent"),
    "stack": ("FrameContentSequence", "StackID"),
    "b-value": ("MRDiffusionSequence", "DiffusionBValue"),
    "inversion time": ("MRModifierSequence", "InversionTimes"),
    "time": ("FrameContentSequence", "TemporalPositionIndex"),
    "trigger time": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    "flip angle": ("MRTimingAndRelatedParametersSequence", "FlipAngle"),
    "acquisition": ("FrameContentSequence", "FrameAcquisitionNumber"),
}


@dataclass(frozen=True)
class Frame:
    """One image.

    Attributes:
        path: Its file.
        index: Its number among those of the file, from 0.
        position: Center of its first pixel, LPS mm.
        orientation: Unit vectors along a row and along a column.
        spacing: Distance of rows, and of columns, mm.
        size: Columns, rows.
        scaling: Slope and intercept of its values.
        number: Its number as the scanner or the archive counts.
        uid: Of the file.
        reference: Frame of reference: what the positions are relative to.
        marks: What tells it from others of the same place, by how that is called.
        where: What it is called in messages: its file, or its number in a file of many.
    """

    path: Path
    index: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    size: tuple[int, int]
    scaling: tuple[float, float]
    number: int
    uid: str
    reference: str
    marks: Mapping[str, str] = field(hash=False)
    where: str


def frames_of(path: Path, dataset: Dataset) -> list[Frame]:
    """The images of a file.

    Raises:
        BadInput: is_rgb, not_3d or bad_tag.
    """
    _check_pixels(path, dataset)
    shared, each = _groups(dataset)
    count = integer(dataset, "NumberOfFrames") or 1
    if text(dataset, "NumberOfFrames") and integer(dataset, "NumberOfFrames") is None:
        raise bad_tag(path.name, dataset, "NumberOfFrames", "a whole number is")
    if each is None and count > 1:
        raise bad_tag(
            path.name, dataset, "PerFrameFunctionalGroupsSequence", f"an item for each of its {count} images is"
        )
    if each is None:
        return [_frame(path, 0, dataset, (dataset,))]
    if len(each) != count:
        expected = f"one place for each of the {len(each)} images that the file describes is"
        raise bad_tag(path.name, dataset, "NumberOfFrames", expected)
    return [_frame(path, index, dataset, (own, shared)) for index, own in enumerate(each)]


def _groups(dataset: Dataset) -> tuple[Dataset | None, list[Dataset] | None]:
    """What an enhanced file says of all images, and of each; None for a classic one."""
    each = dataset.get("PerFrameFunctionalGroupsSequence")
    return item(dataset, "SharedFunctionalGroupsSequence"), list(each) if each else None


def _frame(path: Path, index: int, dataset: Dataset, groups: tuple[Dataset | None, ...]) -> Frame:
    classic = groups == (dataset,)
    where = path.name if classic else f"image {index + 1} of {path.name}"
    place, plane, measures, values = (
        _holder(groups, sequence, keyword, classic)
        for sequence, keyword in (
            ("PlanePositionSequence", "ImagePositionPatient"),
            ("PlaneOrientationSequence", "ImageOrientationPatient"),
            ("PixelMeasuresSequence", "PixelSpacing"),
            ("PixelValueTransformationSequence", "RescaleSlope"),
        )
    )
    content = None if classic else _holder(groups, "FrameContentSequence", "InStackPositionNumber", classic)
    counted = integer(content, "InStackPositionNumber") or index + 1
    return Frame(
        path=path,
        index=index,
        position=numbers(place, "ImagePositionPatient", 3, where),
        orientation=_orientation(plane, where),
        spacing=_spacing(measures, where),
        size=(int(dataset.Columns), int(dataset.Rows)),
        scaling=_scaling(values, where),
        number=(integer(dataset, "InstanceNumber") or 0) if classic else counted,
        uid=text(dataset, "SOPInstanceUID"),
        reference=text(dataset, "FrameOfReferenceUID"),
        marks=_marks(groups, classic),
        where=where,
    )


def _marks(groups: tuple[Dataset | None, ...], classic: bool) -> dict[str, str]:
    """What tells an image from others of its place, by the names of `stacks.TAGS`."""
    told: dict[str, str] = {}
    for name, (tag, unit) in stacks.TAGS.items():
        sequence, keyword = ("", keyword_for(tag)) if classic else _IN_GROUPS.get(name, ("", ""))
        if keyword and (value := text(_holder(groups, sequence, keyword, classic), keyword)):
            told[name] = f"{value}{unit}"
    return told


def _holder(groups: tuple[Dataset | None, ...], sequence: str, keyword: str, classic: bool) -> Dataset | None:
    """What holds an element: the file itself, or the item of a group of this image, else of all images."""
    if classic:
        return groups[0]
    holders = [found for group in groups if (found := item(group, sequence)) is not None]
    return next((found for found in holders if keyword in found), holders[0] if holders else None)


def _orientation(dataset: Dataset | None, where: str) -> tuple[float, ...]:
    found = numbers(dataset, "ImageOrientationPatient", 6, where)
    row, column = np.array(found).reshape(2, 3)
    if abs(np.linalg.norm(row) - 1) > 0.01 or abs(np.linalg.norm(column) - 1) > 0.01 or abs(row @ column) > 0.01:
        raise bad_tag(where, dataset, "ImageOrientationPatient", "two unit vectors at a right angle are")
    return found


def _spacing(dataset: Dataset | None, where: str) -> tuple[float, ...]:
    found = numbers(dataset, "PixelSpacing", 2, where)
    if min(found) <= 0:
        raise bad_tag(where, dataset, "PixelSpacing", "2 numbers above 0 are")
    return found


def _scaling(dataset: Dataset | None, where: str) -> tuple[float, float]:
    if not text(dataset, "RescaleSlope") and not text(dataset, "RescaleIntercept"):
        return 1.0, 0.0
    slope, shift = (
        numbers(dataset, keyword, 1, where)[0] if text(dataset, keyword) else usual
        for keyword, usual in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if slope == 0:
        raise bad_tag(where, dataset, "RescaleSlope", "a number other than 0 is")
    return slope, shift


def _check_pixels(path: Path, dataset: Dataset) -> None:
    """Check that a file holds images in gray values."""
    for keyword in ("Rows", "Columns"):
        if not integer(dataset, keyword):
            raise bad_tag(path.name, dataset, keyword, "a number is")
    colors = integer(dataset, "SamplesPerPixel") or 1
    kind = text(dataset, "PhotometricInterpretation")
    if colors != 1 or kind.startswith(("RGB", "YBR", "PALETTE")):
        message = f"{path.name} is in color (PhotometricInterpretation (0028,0004) is {kind or 'missing'!r})."
        raise BadInput("is_rgb", message, "Choose the scan in gray values.")
    if "MOSAIC" in text(dataset, "ImageType").upper():
        said = "ImageType (0008,0008) says MOSAIC"
    elif _has_private(dataset, 0x0019, "SIEMENS MR HEADER", 0x0A):
        said = "Siemens' tag (0019,100A) says how many"
    else:
        return
    message = f"{path.name} holds its slices as tiles of one picture ({said}), as functional and diffusion scans do."
    raise BadInput("not_3d", message, "Choose an anatomical series; or convert this one to NIfTI, as dcm2niix does.")


def _has_private(dataset: Dataset, group: int, creator: str, element: int) -> bool:
    try:
        return element in dataset.private_block(group, creator)
    except KeyError:
        return False
