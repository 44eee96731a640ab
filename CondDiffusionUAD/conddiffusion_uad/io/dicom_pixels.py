"""The values of DICOM images, each with its own scaling."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io.dicom_file import bad_tag, integer, quiet, text, unreadable, value, whole
from conddiffusion_uad.io.dicom_frames import Frame
from conddiffusion_uad.io.intensities import as_float32
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.io.scan_checks import MAX_VOXELS
from conddiffusion_uad.protocol.failures import BadInput

if TYPE_CHECKING:
    from pydicom import Dataset

_FLOATS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}
_OVERLAYS = range(0x6000, 0x6020, 2)  # groups
_FAR = 1e6  # intercepts beyond would leave float32 few gray levels
_NEEDED = (
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "NumberOfFrames", "PixelData"),
)


def values_of(frames: Sequence[Frame], name: str, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """The values of images, one behind the other.

    Args:
        reading: Whether bits that no tag names may be taken for values; is told then.

    Returns:
        float32 (images, rows, columns), scaled, and which of them hold the value that a tag calls padding.

    Raises:
        BadInput: truncated, not_an_image, bad_tag or bad_intensities.
    """
    columns, rows = frames[0].size
    far = any(abs(shift) > _FAR for _, shift in (frame.scaling for frame in frames))
    values = np.empty((len(frames), rows, columns), np.float64 if far else np.float32)
    padding = np.zeros(values.shape, bool)
    wider: list[str] = []
    for path in dict.fromkeys(frame.path for frame in frames):
        dataset = whole(path)
        stored = _stored(dataset, path, wider)
        for n, frame in enumerate(frames):
            if frame.path == path:
                slope, shift = frame.scaling
                padding[n] = _is_padding(stored[frame.index], dataset)
                shown = _as_shown(stored[frame.index], dataset)
                values[n] = shown.astype(np.float64) * slope + shift
    if wider:
        message = f"The values of {wider[0]} take more bits than the tag BitsStored (0028,0101) says."
        cure = "Export the series again from the archive or the scanner."
        reading.doubt("bad_tag", message, cure, "all bits are taken for the value")
    return as_float32(values, name, reading), padding


def _stored(dataset: Dataset, path: Path, wider: list[str]) -> np.ndarray:
    """The values (frames, rows, columns) as they are stored; `wider` gets the file's name if they take more bits."""
    shape = (integer(dataset, "NumberOfFrames") or 1, int(dataset.Rows), int(dataset.Columns))
    if np.prod(shape, dtype=float) > 4 * MAX_VOXELS:
        message = f"{path.name} says it has {shape[0]} images of {shape[2]} x {shape[1]} pixels."
        raise BadInput("too_large", message, f"At most {MAX_VOXELS} voxels are accepted.")
    order = ">" if text(dataset.file_meta, "TransferSyntaxUID") == "1.2.840.10008.1.2.2" else "<"
    for keyword, kind in _FLOATS.items():
        if keyword in dataset:
            return _array(value(dataset, keyword), f"{order}{kind}", shape, path)
    bits = integer(dataset, "BitsAllocated") or 0
    if "PixelData" not in dataset or bits not in (8, 16, 32):
        raise bad_tag(
            path.name, dataset, "BitsAllocated" if "PixelData" in dataset else "PixelData", "8, 16 or 32 bits are"
        )
    if _is_packed(dataset, path):
        return _unpacked(dataset, path).reshape(shape)
    words = _array(dataset.PixelData, f"{order}u{bits // 8}", shape, path).astype(np.int64 if bits > 16 else np.int32)
    values, fits = _of_bits(words, dataset, bits)
    if fits:
        return values
    wider.append(path.name)
    return _signed(words, dataset, bits)


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


def _of_bits(words: np.ndarray, dataset: Dataset, allocated: int) -> tuple[np.ndarray, bool]:
    """The bits that are values, with their sign, and whether the others are what may be there.

    That is nothing, the sign once more, or overlays that a tag names; words may also end with bits that are no values.
    """
    stored = min(integer(dataset, "BitsStored") or allocated, allocated)
    low = max(0, (integer(dataset, "HighBit") or stored - 1) + 1 - stored)
    bits = words >> low & ((1 << stored) - 1)
    values = _signed(bits, dataset, stored)
    plain = low > 0 or (words == bits).all() or (_signed(words, dataset, allocated) == values).all()
    return values, bool(plain or any((group, 0x0102) in dataset for group in _OVERLAYS))


def _signed(words: np.ndarray, dataset: Dataset, bits: int) -> np.ndarray:
    """Words of so many bits with the sign that the file gives them."""
    return words - ((words >> (bits - 1)) << bits) if integer(dataset, "PixelRepresentation") == 1 else words


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
    return (1 << (integer(dataset, "BitsStored") or 16)) - 1 - stored.astype(np.int64)


def _is_padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray | bool:
    """Which values the tags PixelPaddingValue and PixelPaddingRangeLimit name, whatever sign these were given."""
    first = integer(dataset, "PixelPaddingValue")
    if first is None:
        return False
    last = integer(dataset, "PixelPaddingRangeLimit")
    ends = [first, first if last is None else last]
    bits = integer(dataset, "BitsAllocated") or 16
    if integer(dataset, "PixelRepresentation") == 1:
        ends = [(end + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1) for end in ends]
    low, high = sorted(ends)
    return (stored >= low) & (stored <= high)
