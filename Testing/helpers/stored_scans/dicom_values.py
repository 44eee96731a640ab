"""DICOM series: values, and many images in one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up_scans as made
import numpy as np
from made_up_scans import SIZE, VOXELS, enhanced, item, series
from pydicom import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import RLELossless

from stored_scans.nifti_files import DARK
from stored_scans.stored import ASKED, REFUSED, TOLD, Make, adder, shifted, tag, written

add = adder("DICOM: the values")


def pixels(change: Callable[[np.ndarray, int], np.ndarray], stored: int | None = None, **values: Any) -> Make:
    def every(image: Dataset, k: int) -> None:
        made.set_pixels(image, change(VOXELS[:, :, k].T, k), stored)
        tag(**values)(image, k)

    return lambda d: series(d / "s", every)


def by_slice(image: Dataset, k: int) -> None:
    made.set_pixels(image, (VOXELS[:, :, k].T * (1 + k % 3) - 5).astype(np.int16))
    image.RescaleSlope, image.RescaleIntercept = f"{1 / (1 + k % 3):.12g}", f"{5 / (1 + k % 3):.12g}"


def with_overlay(values: np.ndarray, k: int) -> np.ndarray:
    return values.astype(np.uint16) | np.uint16(0xA000)


def overlaid(folder: Path) -> Path:
    def change(image: Dataset, k: int) -> None:
        made.set_pixels(image, with_overlay(VOXELS[:, :, k].T, k), 12)
        image.add_new(0x60000102, "US", 13)

    return series(folder / "s", change)


def unsigned(values: np.ndarray, k: int) -> np.ndarray:
    return values.astype(np.uint16)


def padded(values: np.ndarray, k: int) -> np.ndarray:
    return np.where(values == 0, -32768, values).astype(np.int16)


PAD = {"PixelPaddingValue": -32768}
add("unsigned", pixels(unsigned, 12))
add("8 bits", pixels(lambda values, k: (values // 5).astype(np.uint8)), values=VOXELS // 5)
add("12 bits with a sign", pixels(lambda values, k: ((values - 700) & 0xFFF).astype(np.int16), 12), values=VOXELS - 700)
add("an overlay in the unused bits, told by a tag", overlaid)
add(
    "values that take more bits than are told",
    pixels(unsigned, 9),
    ASKED,
    "bad_tag",
    "IM0001.dcm take more bits than the tag BitsStored",
)
add("a scaling of its own for each image", lambda d: series(d / "s", by_slice))
add("a slope of 0", shifted(tag(RescaleSlope=0, RescaleIntercept=0)), REFUSED, "bad_tag", "RescaleSlope (0028,1053)")
add("a slope without intercept", shifted(lambda image, k: image.add_new(0x00281053, "DS", "2")), values=VOXELS * 2)
add(
    "an intercept far from 0",
    shifted(tag(RescaleSlope="1", RescaleIntercept="1e8")),
    TOLD,
    "intensities_moved",
    "far from 0",
)
add(
    "a slope that is none",
    shifted(lambda image, k: image.add_new(0x00281053, "LO", "abc")),
    REFUSED,
    "bad_tag",
    "'abc'",
)
add("padding outside of a round field of view", pixels(padded, **PAD), values=DARK)
add(
    "stored as negatives (MONOCHROME1)",
    pixels(lambda v, k: (4095 - v).astype(np.uint16), 12, PhotometricInterpretation="MONOCHROME1"),
    TOLD,
    "inverted",
    "MONOCHROME1",
)


def floats(image: Dataset, k: int) -> None:
    del image.PixelData
    image.FloatPixelData = (VOXELS[:, :, k].T / np.float32(4)).astype("<f4").tobytes()
    image.BitsAllocated = 32


add("floats", lambda d: series(d / "s", floats), values=VOXELS / 4)


def colored(image: Dataset, k: int) -> None:
    made.set_pixels(image, np.zeros((SIZE[1], 3 * SIZE[0]), np.uint8))
    image.Columns, image.SamplesPerPixel, image.PhotometricInterpretation = SIZE[0], 3, "RGB"


add("in color", lambda d: series(d / "s", colored), REFUSED, "is_rgb", "IM0001.dcm is in color")
add(
    "too few bytes of pixels",
    shifted(lambda image, k: setattr(image, "PixelData", image.PixelData[:-100])),
    REFUSED,
    "truncated",
    "IM0001.dcm holds 860 of the 960 bytes",
)


add = adder("DICOM: many images in one file (enhanced)")
add("in the order of their places", lambda d: enhanced(d / "scan.dcm"))
add("in a folder", lambda d: enhanced(d / "s" / "IM1").parent)
add("in the order of acquisition", lambda d: enhanced(d / "scan.dcm", [*range(0, 16, 2), *range(1, 16, 2)]))


def own_slope(frame: Dataset, n: int, k: int) -> None:
    frame.PixelValueTransformationSequence = item(RescaleSlope=f"{(1 + k % 4) * 0.5:g}", RescaleIntercept="0")


add(
    "a scaling of its own for each image",
    lambda d: enhanced(
        d / "scan.dcm", change=own_slope, pixels=lambda n, k: (VOXELS[:, :, k].T * 2 // (1 + k % 4)).astype(np.uint16)
    ),
    values=np.stack([VOXELS[:, :, k] * 2 // (1 + k % 4) * ((1 + k % 4) * 0.5) for k in range(SIZE[2])], 2),
)


def two_echoes(frame: Dataset, n: int, k: int) -> None:
    frame.MREchoSequence = item(EffectiveEchoTime=20.0 if n % 2 == 0 else 90.0)


def two_types(frame: Dataset, n: int, k: int) -> None:
    kind = ["ORIGINAL", "PRIMARY", "T2", "NONE"] if n < 16 else ["DERIVED", "PRIMARY", "T2", "PHASE"]
    frame.MRImageFrameTypeSequence = item(FrameType=kind)


def scaled_second(n: int, k: int) -> np.ndarray:
    return VOXELS[:, :, k].T // np.int16(1 + n % 2)


add(
    "two echoes, one after the other at each place",
    lambda d: enhanced(d / "scan.dcm", [k for k in range(16) for _ in (0, 1)], change=two_echoes, pixels=scaled_second),
    REFUSED,
    "several_stacks",
    "echo time 90",
    options={"echo": "1"},
)
add(
    "two types of images",
    lambda d: enhanced(d / "scan.dcm", [*range(16), *range(16)], change=two_types),
    REFUSED,
    "several_stacks",
    "PHASE",
    options={"echo": "1"},
)
add(
    "packed (RLE)",
    lambda d: enhanced(d / "scan.dcm", whole=lambda image: image.compress(RLELossless, encoding_plugin="pydicom")),
)


def no_place(frame: Dataset, n: int, k: int) -> None:
    if n == 3:
        del frame.PlanePositionSequence


add(
    "an image without position",
    lambda d: enhanced(d / "scan.dcm", change=no_place),
    REFUSED,
    "bad_tag",
    "ImagePositionPatient",
)
add(
    "no functional groups",
    lambda d: enhanced(d / "scan.dcm", whole=lambda image: delattr(image, "PerFrameFunctionalGroupsSequence")),
    REFUSED,
    "bad_tag",
    "PerFrameFunctionalGroupsSequence (5200,9230)",
)
add(
    "one group too few",
    lambda d: enhanced(
        d / "scan.dcm",
        whole=lambda image: setattr(
            image, "PerFrameFunctionalGroupsSequence", Items(image.PerFrameFunctionalGroupsSequence[:-1])
        ),
    ),
    REFUSED,
    "bad_tag",
    "NumberOfFrames",
)


def and_a_half(path: Path) -> Path:
    """The file with half an image more."""
    data, tag_and_kind = path.read_bytes(), b"\x28\x00\x08\x00IS"
    assert data.count(tag_and_kind + b"\x02\x0016") == 1
    return written(path, data.replace(tag_and_kind + b"\x02\x0016", tag_and_kind + b"\x04\x0016.5"))


add(
    "half an image too many",
    lambda d: and_a_half(enhanced(d / "scan.dcm")),
    REFUSED,
    "bad_tag",
    "NumberOfFrames (0028,0008) of scan.dcm is '16.5'; a whole number is expected",
)
add("a single frame", lambda d: enhanced(d / "scan.dcm", [4]), REFUSED, "not_3d", "single image")
add(
    "an image is missing",
    lambda d: enhanced(d / "scan.dcm", [k for k in range(16) if k != 6]),
    REFUSED,
    "irregular_slices",
    "image 6 of scan.dcm and image 7 of scan.dcm follow each other at 8 mm",
)


def concatenated(image: Dataset) -> None:
    image.InConcatenationNumber, image.InConcatenationTotalNumber = 1, 2


add(
    "in two files, of which one is missing",
    lambda d: enhanced(d / "scan.dcm", whole=concatenated),
    TOLD,
    "images_missing",
    "2 parts (InConcatenationTotalNumber); 1 are there",
)
