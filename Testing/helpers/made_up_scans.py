"""One made-up scan, written in all the ways in which scans are stored, right and wrong."""

from __future__ import annotations

import bz2
import gzip
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

SIZE = (20, 24, 16)
SPACING = np.array([2.5, 2.0, 4.0])
COLUMNS = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])  # LPS; column k is the direction of axis k
ORIGIN = np.array([-30.0, 12.5, 7.0])
LPS = np.eye(4)
LPS[:3, :3], LPS[:3, 3] = COLUMNS * SPACING, ORIGIN
RAS = np.diag([-1.0, -1.0, 1.0, 1.0]) @ LPS
ROOT = "1.2.826.0.1.3680043.8.498."


def voxels() -> np.ndarray:
    """Whole numbers (x, y, z) from 1 to 1000 inside of a ball, 0 outside of it; no symmetry."""
    random = np.random.default_rng(5)
    x, y, z = np.indices(SIZE)
    inside = ((x - 9.5) / 9) ** 2 + ((y - 11.5) / 11) ** 2 + ((z - 7.5) / 8) ** 2 < 1
    return (inside * (1 + 20 * x + 10 * y + 5 * z + random.integers(0, 200, SIZE))).astype(np.int16)


VOXELS = voxels()

# ---- NIfTI


def nifti(
    path: Path,
    values: np.ndarray = VOXELS,
    *,
    sform: np.ndarray | None = RAS,
    qform: np.ndarray | None = RAS,
    codes: tuple[int, int] = (1, 1),
    change: Callable[[Any], None] | None = None,
    order: str = "<",
    kind: type = nibabel.Nifti1Header,
    pack: Callable[[bytes], bytes] | None = None,
) -> Path:
    """A NIfTI file, byte by byte: whatever the header says, nothing is mended.

    Args:
        path: Of the file; packed with gzip when it ends with .gz and `pack` is None.
        values: Voxels (x, y, z, ...).
        sform: In RAS; None for none.
        qform: In RAS; None for none.
        codes: Of sform and qform.
        change: Changes the header.
        order: "<" or ">".
        kind: nibabel's header class.
        pack: Packs the file.
    """
    header = kind(endianness=order)
    header.set_data_dtype(values.dtype)
    header.set_data_shape(values.shape)
    if qform is not None:
        header.set_qform(qform, codes[1], strip_shears=True)
    else:
        header["pixdim"][1:4] = SPACING
    if sform is not None:
        header.set_sform(sform, codes[0])
    header.set_xyzt_units("mm")
    header["vox_offset"] = 352 if kind is nibabel.Nifti1Header else 544
    header["magic"] = b"n+1" if kind is nibabel.Nifti1Header else b"n+2\0\r\n\x1a\n"
    if change is not None:
        change(header)
    data = header.binaryblock + bytes(4) + values.astype(values.dtype.newbyteorder(order)).tobytes(order="F")
    pack = pack or (gzip.compress if path.name.lower().endswith(".gz") else bytes)
    path.write_bytes(pack(data))
    return path


def pair(folder: Path, names: tuple[str, str] = ("scan.hdr", "scan.img"), magic: bytes = b"ni1") -> Path:
    """A NIfTI scan in two files."""

    def split(header: Any) -> None:
        header["magic"], header["vox_offset"] = magic, 0

    data = nifti(folder / "one.nii", change=split).read_bytes()
    (folder / "one.nii").unlink()
    (folder / names[0]).write_bytes(data[:348])
    (folder / names[1]).write_bytes(data[352:])
    return folder / names[1]


def analyze(folder: Path, order: str = ">") -> Path:
    """An Analyze 7.5 scan: two files that do not tell orientation."""
    header = nibabel.AnalyzeHeader(endianness=order)
    header.set_data_dtype(VOXELS.dtype)
    image = nibabel.AnalyzeImage(VOXELS, None, header)
    image.header.set_zooms(SPACING)
    nibabel.save(image, folder / "scan.img")
    return folder / "scan.img"


# ---- NRRD and MetaImage


def nrrd(path: Path, packing: str = "gzip", values: np.ndarray = VOXELS, **changed: str | None) -> Path:
    """A NRRD file; keywords change its fields ("space_origin" for "space origin"), None leaves one out."""
    spatial = ["(" + ",".join(f"{number:.17g}" for number in column) + ")" for column in LPS[:3, :3].T]
    fields: dict[str, str | None] = {
        "type": {"int16": "short", "int64": "int64", "float32": "float", "uint8": "uchar"}[values.dtype.name],
        "dimension": str(values.ndim),
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, values.shape)),
        "space directions": " ".join(["none"] * (values.ndim - 3) + spatial),
        "kinds": " ".join(["list"] * (values.ndim - 3) + ["domain"] * 3),
        "endian": "little",
        "encoding": packing,
        "space origin": "(" + ",".join(map(str, ORIGIN)) + ")",
    }
    fields.update({name.replace("_", " "): value for name, value in changed.items()})
    head = "".join(f"{name}: {value}\n" for name, value in fields.items() if value is not None)
    data = values.tobytes(order="F")
    data = {"gzip": gzip.compress, "bzip2": bz2.compress}.get(packing, bytes)(data)
    if packing == "ascii":
        data = " ".join(map(str, values.ravel(order="F"))).encode()
    if packing == "hex":
        data = data.hex().encode()
    if (beside := fields.get("data file")) is not None:
        (path.parent / beside).write_bytes(data)
        data = b""
    path.write_bytes(b"NRRD0004\n" + head.encode() + b"\n" + data)
    return path


def in_slices(folder: Path, missing: int | None = None) -> None:
    """The voxels, each slice in a file of its own: s00.raw, s01.raw, ...; one of them may be cut off."""
    for k in range(SIZE[2]):
        (folder / f"s{k:02d}.raw").write_bytes(VOXELS[:, :, k].tobytes(order="F")[: 100 if k == missing else None])


def metaimage(path: Path, data: bytes = VOXELS.tobytes(order="F"), *, axes: int = 3, **changed: str | None) -> Path:
    """A MetaImage file with this behind its header; keywords change its lines, None leaves one out."""
    direction = np.eye(axes)
    direction[:3, :3] = COLUMNS
    tail = ["1"] * (axes - 3)
    lines: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": str(axes),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "TransformMatrix": " ".join(map(str, direction.T.ravel())),
        "Offset": " ".join([*map(str, ORIGIN), *(["0"] * (axes - 3))]),
        "ElementSpacing": " ".join([*map(str, SPACING), *tail]),
        "DimSize": " ".join([*map(str, SIZE), *tail]),
        "ElementType": "MET_SHORT",
    }
    lines = {**lines, "ElementDataFile": "LOCAL", **changed}
    last = lines.pop("ElementDataFile")
    head = "".join(f"{name} = {value}\n" for name, value in lines.items() if value is not None)
    path.write_bytes(head.encode() + f"ElementDataFile = {last}\n".encode() + data)
    return path


# ---- DICOM

Change = Callable[[Dataset, int], None]


def place(k: float) -> list[float]:
    """Where slice k begins, LPS mm."""
    return (ORIGIN + k * LPS[:3, 2]).tolist()


def dicom_slice(k: int, pixels: np.ndarray | None = None, uid: str = "2") -> Dataset:
    """One image of a classic series."""
    pixels = VOXELS[:, :, k].T if pixels is None else pixels
    image, meta = Dataset(), FileMetaDataset()
    meta.MediaStorageSOPClassUID = image.SOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid(ROOT, [uid, str(k)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta = meta
    image.SpecificCharacterSet, image.Modality = "ISO_IR 100", "MR"
    image.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    image.StudyInstanceUID, image.SeriesInstanceUID = ROOT + "1", ROOT + uid
    image.FrameOfReferenceUID, image.SeriesNumber = ROOT + "9", int(uid)
    image.InstanceNumber = k + 1
    image.SeriesDescription = image.ProtocolName = "AX T2 FLAIR"
    image.EchoTime, image.RepetitionTime, image.ScanningSequence = "120", "9000", "SE"
    image.SliceThickness = image.SpacingBetweenSlices = "4"
    image.PixelSpacing = [SPACING[1], SPACING[0]]
    image.ImagePositionPatient = place(k)
    image.ImageOrientationPatient = [*COLUMNS[:, 0], *COLUMNS[:, 1]]
    set_pixels(image, pixels)
    return image


def set_pixels(image: Dataset, pixels: np.ndarray, stored: int | None = None) -> None:
    """Put whole numbers (rows, columns), or frames of them, into an image."""
    image.Rows, image.Columns = pixels.shape[-2:]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 8 * pixels.dtype.itemsize
    image.BitsAllocated, image.BitsStored = bits, stored or bits
    image.HighBit = image.BitsStored - 1
    image.PixelRepresentation = int(pixels.dtype.kind == "i")
    image.PixelData = np.ascontiguousarray(pixels).tobytes()
    image["PixelData"].VR = "OB" if bits == 8 else "OW"


def series(
    folder: Path, change: Change | None = None, slices: Iterable[int] = range(SIZE[2]), name: str = "IM"
) -> Path:
    """A classic series, each image changed by `change`."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in slices:
        image = dicom_slice(k)
        if change is not None:
            change(image, k)
        save(image, folder / f"{name}{k + 1:04d}.dcm")
    return folder


def save(image: Dataset, path: Path) -> Path:
    """Write an image as it is, whatever is wrong with it."""
    from conddiffusion_uad.io.dicom_file import quiet

    path.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        image.save_as(path, enforce_file_format=True)
    return path


def item(**values: Any) -> Items:
    """A sequence with one item."""
    content = Dataset()
    for keyword, value in values.items():
        setattr(content, keyword, value)
    return Items([content])


def enhanced(
    path: Path,
    order: Sequence[int] = range(SIZE[2]),
    *,
    change: Callable[[Dataset, int, int], None] | None = None,
    pixels: Callable[[int, int], np.ndarray] = lambda n, k: VOXELS[:, :, k].T,
    whole: Callable[[Dataset], None] | None = None,
) -> Path:
    """An enhanced file: all slices in one.

    Args:
        path: Of the file.
        order: The slices, as they are stored.
        change: Changes the functional groups of image n, which shows slice k.
        pixels: Values of image n, which shows slice k.
        whole: Changes the file.
    """
    image = dicom_slice(0)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "EchoTime", "ImageType"):
        delattr(image, keyword)
    image.ImageType = ["ORIGINAL", "PRIMARY", "T2", "NONE"]
    set_pixels(image, np.stack([pixels(n, k) for n, k in enumerate(order)]))
    image.NumberOfFrames = len(order)
    shared = Dataset()
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=[*COLUMNS[:, 0], *COLUMNS[:, 1]])
    shared.PixelMeasuresSequence = item(PixelSpacing=[SPACING[1], SPACING[0]], SliceThickness="4")
    shared.PixelValueTransformationSequence = item(RescaleSlope="1", RescaleIntercept="0", RescaleType="US")
    image.SharedFunctionalGroupsSequence = Items([shared])
    frames = []
    for n, k in enumerate(order):
        frame = Dataset()
        frame.PlanePositionSequence = item(ImagePositionPatient=place(k))
        frame.FrameContentSequence = item(StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1])
        if change is not None:
            change(frame, n, k)
        frames.append(frame)
    image.PerFrameFunctionalGroupsSequence = Items(frames)
    if whole is not None:
        whole(image)
    return save(image, path)


def patched(offset: int, form: str, *numbers: float) -> Callable[[bytes], bytes]:
    """Packs a file as it is, but with other bytes at one place."""

    def pack(data: bytes) -> bytes:
        changed = bytearray(data)
        struct.pack_into(form, changed, offset, *numbers)
        return bytes(changed)

    return pack
