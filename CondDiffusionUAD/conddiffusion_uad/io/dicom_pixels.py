"""The values of DICOM images, each with its own scaling."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io.dicom_file import bad_tag, number, quiet, text, unreadable, value, whole
from conddiffusion_uad.io.dicom_frames import Frame
from conddiffusion_uad.io.scan_checks import MAX_VOXELS
from conddiffusion_uad.protocol.failures import BadInput

if TYPE_CHECKING:
    from pydicom import Dataset

_FLOATS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}
_NEEDED = (
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "NumberOfFrames", "PixelData"),
)


def values_of(frames: Sequence[Frame]) -> tuple[np.ndarray, np.ndarray]:
    """The values of images, one behind the other.

    Returns:
        float32 (images, rows, columns), scaled, and which of them hold the value that a tag calls padding.

    Raises:
        BadInput: truncated, not_an_image or bad_tag.
    """
    columns, rows = frames[0].size
    values = np.empty((len(frames), rows, columns), np.float32)
    padding = np.zeros(values.shape, bool)
    for path in dict.fromkeys(frame.path for frame in frames):
        dataset = whole(path)
        stored = _stored(dataset, path)
        for n, frame in enumerate(frames):
            if frame.path == path:
                slope, shift = frame.scaling
                padding[n] = _is_padding(stored[frame.index], dataset)
                shown = _as_shown(stored[frame.index], dataset)
                values[n] = shown.astype(np.float64) * slope + shift
    return values, padding


def _stored(dataset: Dataset, path: Path) -> np.ndarray:
    """The values (frames, rows, columns) as they are stored."""
    shape = (number(dataset, "NumberOfFrames", int) or 1, int(dataset.Rows), int(dataset.Columns))
    if np.prod(shape, dtype=float) > 4 * MAX_VOXELS:
        message = f"{path.name} says it has {shape[0]} images of {shape[2]} x {shape[1]} pixels."
        raise BadInput("too_large", message, f"At most {MAX_VOXELS} voxels are accepted.")
    order = ">" if text(dataset.file_meta, "TransferSyntaxUID") == "1.2.840.10008.1.2.2" else "<"
    for keyword, kind in _FLOATS.items():
        if keyword in dataset:
            return _array(value(dataset, keyword), f"{order}{kind}", shape, path)
    bits = number(dataset, "BitsAllocated", int)
    if "PixelData" not in dataset or bits not in (8, 16, 32):
        raise bad_tag(
            path.name, dataset, "BitsAllocated" if "PixelData" in dataset else "PixelData", "8, 16 or 32 bits are"
        )
    if _is_packed(dataset, path):
        return _unpacked(dataset, path).reshape(shape)
    return _without_overlays(_array(dataset.PixelData, f"{order}u{bits // 8}", shape, path), dataset)


def _array(data: bytes, dtype: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    count = int(np.prod(shape))
    if len(data or b"") < count * np.dtype(dtype).itemsize:
        message = f"{path.name} holds {len(data or b'')} of the {count * np.dtype(dtype).itemsize} bytes of its pixels."
        raise BadInput("truncated", message, "Copy or export the series again.")
    return np.frombuffer(data, dtype, count).reshape(shape)


def _is_packed(dataset: Dataset, path: Path) -> bool:
    from pydicom.uid import UID

    syntax = UID(text(dataset.file_meta, "TransferSyntaxUID") or "1.2.840.10008.1.2")
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise unreadable(path, f"nobody else knows its transfer syntax {syntax}")
    return syntax.is_encapsulated


def _without_overlays(words: np.ndarray, dataset: Dataset) -> np.ndarray:
    """The bits that are values, with their sign: overlays may be in the others."""
    allocated = number(dataset, "BitsAllocated", int)
    stored = min(number(dataset, "BitsStored", int) or allocated, allocated)
    low = max(0, (number(dataset, "HighBit", int) or stored - 1) + 1 - stored)
    wide = words.astype(np.int32 if allocated <= 16 else np.int64) >> low & ((1 << stored) - 1)
    if number(dataset, "PixelRepresentation", int) == 1:
        wide -= (wide >> (stored - 1)) << stored
    return wide


def _unpacked(dataset: Dataset, path: Path) -> np.ndarray:
    """The values of packed (JPEG, JPEG 2000, RLE) pixels, by GDCM, from a file that holds nothing but the pixels."""
    from pydicom import Dataset, FileMetaDataset
    from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage, generate_uid

    bare, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID = bare.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID = generate_uid()
    bare.file_meta = meta
    for keyword in _NEEDED:
        if keyword in dataset:
            bare[keyword] = dataset[keyword]
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            file = Path(folder) / "pixels.dcm"
            bare.save_as(file, enforce_file_format=True)
            return sitk.GetArrayFromImage(sitk.ReadImage(str(file), imageIO="GDCMImageIO"))
    except (RuntimeError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise unreadable(path, "its pixels cannot be unpacked") from error


def _as_shown(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """The values so that larger ones are brighter."""
    if text(dataset, "PhotometricInterpretation") != "MONOCHROME1":
        return stored
    return (1 << (number(dataset, "BitsStored", int) or 16)) - 1 - stored.astype(np.int64)


def _is_padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray | bool:
    """Which values the tags PixelPaddingValue and PixelPaddingRangeLimit name, whatever sign these were given."""
    first = number(dataset, "PixelPaddingValue", int)
    if first is None:
        return False
    last = number(dataset, "PixelPaddingRangeLimit", int)
    bits = number(dataset, "BitsAllocated", int) or 16
    if number(dataset, "PixelRepresentation", int) == 1:
        first, last = (
            None if n is None else (n + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1) for n in (first, last)
        )
    low, high = sorted((first, first if last is None else last))
    return (stored >= low) & (stored <= high)
