"""DICOM series: files and texts."""

from __future__ import annotations

from pathlib import Path

import made_up_scans as made
from made_up_scans import VOXELS, nifti, series
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from stored_scans.stored import REFUSED, TOLD, Make, adder, cut, tag, written

add = adder("DICOM: files and texts")
add("a folder with one series", lambda d: series(d / "s"))


def renamed(folder: Path) -> Path:
    for n, file in enumerate(sorted(series(folder / "s").iterdir(), key=lambda file: file.name[::-1])):
        file.rename(file.parent / f"{n:x}" if n % 2 else file.parent / f"I.{n}.MR")
    return folder / "s"


def nested(folder: Path) -> Path:
    for n, file in enumerate(sorted(series(folder / "s").iterdir())):
        (folder / "s" / f"part{n % 3}").mkdir(exist_ok=True)
        file.rename(folder / "s" / f"part{n % 3}" / file.stem)
    directory = made.dicom_slice(0)
    directory.file_meta.MediaStorageSOPClassUID = directory.SOPClassUID = "1.2.840.10008.1.3.10"
    made.save(directory, folder / "s" / "DICOMDIR")
    return folder / "s"


add("files without suffix, in any order", renamed)
add("folders in the folder, with a DICOMDIR", nested)


def recoded(syntax: str) -> Make:
    def change(image: Dataset, k: int) -> None:
        image.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            image.PixelData = VOXELS[:, :, k].T.astype(">i2").tobytes()

    return lambda d: series(d / "s", change)


def packed(image: Dataset, k: int) -> None:
    image.compress(RLELossless, encoding_plugin="pydicom")


add("implicit value representations", recoded(ImplicitVRLittleEndian))
add("big-endian", recoded(ExplicitVRBigEndian))
add("deflated", recoded("1.2.840.10008.1.2.1.99"))
add("packed (RLE)", lambda d: series(d / "s", packed))


def packed_by_itk(folder: Path) -> Path:
    """JPEG 2000, as GDCM writes it."""
    import SimpleITK as sitk

    for file in series(folder / "s").iterdir():
        image = sitk.ReadImage(str(file))
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetFileName(str(file))
        writer.Execute(image)
    return folder / "s"


add("packed (JPEG 2000)", packed_by_itk)


def described(charset: str | list[str] | None, words: str, raw: bytes | None = None) -> Make:
    def change(image: Dataset, k: int) -> None:
        if charset is None:
            del image.SpecificCharacterSet
        else:
            image.SpecificCharacterSet = charset
        image.SeriesDescription = image.ProtocolName = words
        image.PatientName = words

    def make(folder: Path) -> Path:
        made_folder = series(folder / "s", change)
        if raw is not None:
            for file in made_folder.iterdir():
                data = file.read_bytes()
                file.write_bytes(data.replace(words.encode("ascii"), raw.ljust(len(words))[: len(words)]))
        return made_folder

    return make


add("an umlaut, ISO_IR 100", described("ISO_IR 100", "Schädel FLAIR axial"))
add("Chinese, GB18030", described("GB18030", "头部 T2 FLAIR"))
add("Japanese, two character sets", described(["", "ISO 2022 IR 87"], "頭部 FLAIR"))
add("bytes that the character set does not have", described("ISO_IR 192", "AAAA FLAIR", b"\xff\xfe\x80\x81 FLAIR"))
add("a character set that there is not", described("NO SUCH SET", "T2 FLAIR"))


def odd_texts(image: Dataset, k: int) -> None:
    image.add_new(0x00191001, "UN", bytes(range(256)) * 4)
    image.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")
    image.add_new(0x00291010, "OB", b"\0" * 5000)
    image.SeriesDescription = "T2 FLAIR " + "x" * 900
    image.PatientName = "^" * 200
    image.add_new(0x00100030, "DA", "not a date")
    image.add_new(0x00101010, "AS", "nonsense")


add("private elements, texts too long, dates that are none", lambda d: series(d / "s", odd_texts))


NOT_NEEDED = (
    *("SpecificCharacterSet", "Modality", "ImageType", "SeriesDescription", "ProtocolName", "EchoTime", "SeriesNumber"),
    *("InstanceNumber", "SliceThickness", "SpacingBetweenSlices", "FrameOfReferenceUID"),
)


def bare(image: Dataset, k: int) -> None:
    for keyword in NOT_NEEDED:
        delattr(image, keyword)


add("nothing but identity, place and pixels", lambda d: series(d / "s", bare))


def of_another(image: Dataset, k: int) -> None:
    image.SeriesInstanceUID, image.SeriesNumber = made.ROOT + "3", 3
    image.SeriesDescription, image.SOPInstanceUID = "Localizer", f"{made.ROOT}7.{k}"


def two_series(folder: Path) -> Path:
    series(folder / "s")
    series(folder / "s" / "t", of_another, range(3))
    return folder / "s"


add(
    "two series",
    two_series,
    REFUSED,
    "several_series",
    "2: AX T2 FLAIR (16 files); 3: Localizer (3 files)",
    options={"series": "2"},
)


def with_report(folder: Path) -> Path:
    report = made.dicom_slice(0, uid="5")
    report.Modality = "SR"
    del report.PixelData, report.Rows
    made.save(report, series(folder / "s") / "SR.dcm")
    return folder / "s"


def beside(name: str, data: bytes) -> Make:
    return lambda d: written(series(d / "s") / name, data).parent


def with_behind(data: bytes) -> Make:
    def make(folder: Path) -> Path:
        for file in series(folder / "s").iterdir():
            file.write_bytes(file.read_bytes() + data)
        return folder / "s"

    return make


add("bytes behind the pixels", with_behind(b"junk" * 5))
add("zeros behind the pixels", with_behind(bytes(300)))
add(
    "segmentations only",
    lambda d: series(d / "s", tag(Modality="SEG")),
    REFUSED,
    "not_an_image",
    "16 of modality SEG",
)
add("a report beside the images", with_report)
add("another file beside the images", beside("notes.txt", b"hello"), TOLD, "other_files", "notes.txt")
add("an empty file in the series", beside("IM9999.dcm", b""), REFUSED, "not_an_image", "IM9999.dcm")
add(
    "a file cut off in the series",
    lambda d: cut(series(d / "s") / "IM0004.dcm", 0.9).parent,
    REFUSED,
    "truncated",
    "IM0004.dcm",
)


def linked(folder: Path) -> Path:
    (series(folder / "s") / "IM0099.dcm").symlink_to(folder / "gone.dcm")
    return folder / "s"


add("a broken link in the series", linked, REFUSED, "file_not_found", "IM0099.dcm")
add("no DICOM at all", lambda d: beside_only(d), REFUSED, "not_an_image", "scan.nii.gz")


def results_only(folder: Path) -> Path:
    (folder / "s").mkdir()
    nifti(folder / "s" / "heatmap.nii.gz")
    return written(folder / "s" / "report.json", b"{}").parent


add("the results of a detection", results_only, REFUSED, "not_an_image", "the scan that was examined")


def beside_only(folder: Path) -> Path:
    (folder / "s").mkdir()
    nifti(folder / "s" / "scan.nii.gz")
    return folder / "s"


add("a single image of a series", lambda d: series(d / "s") / "IM0003.dcm", REFUSED, "not_3d", "single image")
