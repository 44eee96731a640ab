"""DICOM series: where the images lie."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import made_up_scans as made
import numpy as np
from made_up_scans import COLUMNS, LPS, SIZE, SPACING, VOXELS, place, series
from pydicom import Dataset

from stored_scans.stored import REFUSED, TOLD, Make, adder, shifted, tag

add = adder("DICOM: the place")


def numbered(image: Dataset, k: int) -> None:
    image.InstanceNumber = 99 - k


add("numbered from the top", lambda d: series(d / "s", numbered))


def drifting(step: float, axis: int) -> made.Change:
    """Shifts each image by so many pixels against the last, along its rows (0) or columns (1)."""

    def change(image: Dataset, k: int) -> None:
        image.ImagePositionPatient = (np.array(place(k)) + step * k * SPACING[axis] * COLUMNS[:, axis]).tolist()

    return change


def shifted_values(step: int, axis: int) -> np.ndarray:
    """The voxels on the grid on which images lie that are shifted by whole pixels."""
    size, last = list(SIZE), SIZE[2] - 1
    size[axis] += abs(step) * last
    values = np.zeros(size, np.int16)
    for k in range(SIZE[2]):
        begin = step * k - min(0, step * last)
        part = (
            (slice(begin, begin + SIZE[0]), slice(None)) if axis == 0 else (slice(None), slice(begin, begin + SIZE[1]))
        )
        values[(*part, k)] = VOXELS[:, :, k]
    return values


def turned(image: Dataset, k: int) -> None:
    if k >= 8:
        image.ImageOrientationPatient = [*-COLUMNS[:, 0], *COLUMNS[:, 1]]


def jumping(image: Dataset, k: int) -> None:
    if k == 6:
        image.ImagePositionPatient = (np.array(place(k)) + 3 * COLUMNS[:, 1]).tolist()


def on(number: int, **values: Any) -> made.Change:
    """Sets elements of one image."""
    return lambda image, k: tag(**values)(image, k) if k == number else None


def localizer(folder: Path) -> Path:
    extra = made.dicom_slice(7)
    extra.ImageOrientationPatient, extra.ImagePositionPatient = [0, 1, 0, 0, 0, -1], [0, -50, 50]
    extra.SOPInstanceUID, extra.InstanceNumber = made.ROOT + "77", 99
    made.save(extra, series(folder / "s") / "ZZ.dcm")
    return folder / "s"


def twice(folder: Path) -> Path:
    again = made.dicom_slice(5)
    again.SOPInstanceUID, again.InstanceNumber = made.ROOT + "78", 99
    made.save(again, series(folder / "s") / "AGAIN.dcm")
    return folder / "s"


def copied(folder: Path) -> Path:
    shutil.copy(series(folder / "s") / "IM0005.dcm", folder / "s" / "copy.dcm")
    return folder / "s"


def blocks(*marks: dict[str, Any]) -> Make:
    """All places, once for each of several sets of values."""

    def make(folder: Path) -> Path:
        for n, values in enumerate(marks):
            for k in range(SIZE[2]):
                image = made.dicom_slice(k, VOXELS[:, :, k].T // np.int16(n + 1))
                image.SOPInstanceUID = f"{made.ROOT}{n + 1}.{k}"
                image.InstanceNumber = n * SIZE[2] + k + 1
                tag(**values)(image, k)
                made.save(image, folder / "s" / f"{n}-{k:03d}.dcm")
        return folder / "s"

    return make


add(
    "two echoes, told by their times",
    blocks({"EchoTime": "20"}, {"EchoTime": "90"}),
    REFUSED,
    "several_stacks",
    "echo time 20 ms; 2: 16 images (number 17 to 32), echo time 90 ms",
    options={"echo": "1"},
)
add(
    "two blocks that no tag tells apart",
    blocks({}, {}),
    REFUSED,
    "several_stacks",
    "echo time 120 ms",
    options={"echo": "1"},
)
add(
    "magnitude and phase",
    blocks({}, {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}),
    REFUSED,
    "several_stacks",
    "image type ORIGINAL\\PRIMARY\\P\\ND",
    options={"echo": "1"},
)
add(
    "two points in time",
    blocks({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}),
    REFUSED,
    "several_stacks",
    "time 2",
    options={"echo": "1"},
)
add("two acquisitions of half the places each", shifted(lambda image, k: tag(AcquisitionNumber=k % 2)(image, k)))
add(
    "an image of another plane",
    localizer,
    REFUSED,
    "several_stacks",
    "ZZ.dcm: another plane (ImageOrientationPatient 0\\1\\0\\0\\0\\-1)",
    options={"echo": "1"},
)
add(
    "an image twice", twice, REFUSED, "several_stacks", "AGAIN.dcm: the same place as IM0006.dcm", options={"echo": "1"}
)
add("a copied file", copied, TOLD, "copies", "copy.dcm")
add(
    "an image of another frame of reference",
    shifted(on(15, FrameOfReferenceUID="1.2.3")),
    REFUSED,
    "several_stacks",
    "IM0016.dcm: another frame of reference",
)
add(
    "an image of another pixel size",
    shifted(on(15, PixelSpacing=[3, 3])),
    REFUSED,
    "several_stacks",
    "IM0016.dcm: another matrix",
)
add(
    "row direction turned half way",
    shifted(turned),
    REFUSED,
    "several_stacks",
    "2: 8 images (number 9 to 16), echo time 120 ms, image type ORIGINAL\\PRIMARY\\M\\ND, ImageOrientationPatient -0.8",
)
add(
    "an image is missing",
    shifted(lambda image, k: None, [k for k in range(16) if k != 6]),
    REFUSED,
    "irregular_slices",
    "IM0006.dcm and IM0008.dcm follow each other at 8 mm",
)
add(
    "said to have more images",
    shifted(tag(ImagesInAcquisition=20)),
    TOLD,
    "images_missing",
    "20 images (ImagesInAcquisition); 16 are there",
)
add(
    "a tilted gantry",
    shifted(drifting(1, 1)),
    TOLD,
    "resampled",
    "shifted against each other by 2 mm",
    values=shifted_values(1, 1),
)
MINUS_ROWS = LPS.copy()
MINUS_ROWS[:3, 3] -= (SIZE[2] - 1) * LPS[:3, 0]
add(
    "slices that drift aside",
    shifted(drifting(-1, 0)),
    TOLD,
    "resampled",
    "shifted against each other by 2.5 mm",
    values=shifted_values(-1, 0),
    affine=MINUS_ROWS,
)
add(
    "slices that drift farther than any gantry tilts",
    shifted(drifting(2, 1)),
    REFUSED,
    "bad_direction",
    "shifted against each other by 4 mm",
)
add("one slice beside the others", shifted(jumping), REFUSED, "irregular_slices", "IM0007.dcm lies 3 mm beside")
POSITION, ORIENTATION = "ImagePositionPatient (0020,0032) of IM0001.dcm", "ImageOrientationPatient (0020,0037)"
add("no position", shifted(tag(ImagePositionPatient=None)), REFUSED, "bad_tag", f"{POSITION} is missing or empty")
add("empty positions", shifted(tag(ImagePositionPatient="")), REFUSED, "bad_tag", f"{POSITION} is missing or empty")
add("no orientation", shifted(tag(ImageOrientationPatient=None)), REFUSED, "bad_tag", ORIENTATION)
add("an orientation of zeros", shifted(tag(ImageOrientationPatient=[0] * 6)), REFUSED, "bad_tag", ORIENTATION)
add("no pixel size", shifted(tag(PixelSpacing=None)), REFUSED, "bad_tag", "PixelSpacing (0028,0030) of IM0001.dcm")
add(
    "tiles of one picture (mosaic)",
    shifted(tag(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])),
    REFUSED,
    "not_3d",
    "MOSAIC",
)


def interleaved(folder: Path) -> Path:
    """A second echo, half a slice higher than the first."""
    for k in range(SIZE[2]):
        image = made.dicom_slice(k)
        image.SOPInstanceUID, image.EchoTime, image.InstanceNumber = f"{made.ROOT}55.{k}", "20", k + 20
        image.ImagePositionPatient = place(k + 0.5)
        made.save(image, folder / "s" / f"B{k:02d}.dcm")
    return series(folder / "s")


def of_another_study(folder: Path) -> Path:
    def change(image: Dataset, k: int) -> None:
        image.StudyInstanceUID, image.SOPInstanceUID = f"{made.ROOT}8", f"{made.ROOT}8.{k}"
        image.ImagePositionPatient = place(k + 16)

    series(folder / "s" / "other", change)
    return series(folder / "s")


def planes(image: Dataset, k: int) -> None:
    image.ImageOrientationPatient = [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1]][k]


def linked_folder(folder: Path) -> Path:
    series(folder / "elsewhere")
    (folder / "s").mkdir()
    (folder / "s" / "link").symlink_to(folder / "elsewhere")
    (folder / "elsewhere" / "back").symlink_to(folder / "s")
    return folder / "s"


def capture(folder: Path) -> Path:
    extra = made.dicom_slice(0)
    extra.SOPInstanceUID, extra.PhotometricInterpretation = f"{made.ROOT}99", "RGB"
    made.save(extra, series(folder / "s") / "SC.dcm")
    return folder / "s"


add(
    "an echo between the images of another",
    interleaved,
    REFUSED,
    "several_stacks",
    "echo time 20 ms",
    options={"echo": "1"},
)
add(
    "two studies with one SeriesInstanceUID",
    of_another_study,
    REFUSED,
    "several_series",
    "of different patients or studies",
)
add("three single pictures (a localizer)", shifted(planes, range(3)), REFUSED, "not_3d", "as of a localizer")
add("a link to a folder, and one in a circle", linked_folder)
add("a picture of the screen in the series", capture, REFUSED, "is_rgb", "other 16 images without it: --echo 1")
add(
    "every second image is missing",
    shifted(lambda image, k: None, range(0, 16, 2)),
    TOLD,
    "images_missing",
    "1 of 2 may be missing",
    values=VOXELS[:, :, ::2],
    affine=LPS @ np.diag([1.0, 1.0, 2.0, 1.0]),
)
add(
    "every second image is missing, and the distance is not told",
    shifted(tag(SpacingBetweenSlices=None), range(0, 16, 2)),
    TOLD,
    "images_missing",
    "every 2. number",
    values=VOXELS[:, :, ::2],
    affine=LPS @ np.diag([1.0, 1.0, 2.0, 1.0]),
)
add(
    "the first image is missing",
    shifted(lambda image, k: None, range(1, 16)),
    TOLD,
    "images_missing",
    "numbered from 2 on",
    values=VOXELS[:, :, 1:],
    affine=LPS @ np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]),
)
for value in (0, -2):
    add(
        f"a pixel size of {value}",
        shifted(tag(PixelSpacing=[value, 2])),
        REFUSED,
        "bad_tag",
        "2 numbers above 0 are expected",
    )


def siemens(image: Dataset, k: int) -> None:
    image.Manufacturer = "SIEMENS"
    image.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
    image.add_new(0x0019100A, "US", 9)


add("tiles of one picture (mosaic), told by a private tag", shifted(siemens), REFUSED, "not_3d", "(0019,100A)")
add(
    "all images at one place",
    shifted(lambda image, k: tag(ImagePositionPatient=place(0))(image, k)),
    REFUSED,
    "not_3d",
    "all lie at one place (ImagePositionPatient is -30\\12.5\\7)",
)
add(
    "an image of another patient",
    shifted(on(7, PatientID="Z9")),
    REFUSED,
    "several_series",
    "of different patients or studies",
)
