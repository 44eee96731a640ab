"""Mutated scans: each is read, and is one, or is refused in one sentence, quickly."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from fuzzing import SAME_FOLDER, brain, sentences
from hypothesis import given
from hypothesis import strategies as st

from conddiffusion_uad.io import volume
from conddiffusion_uad.protocol.failures import BadInput

Edit = tuple[int, bytes]


def edits(length: int) -> st.SearchStrategy[list[Edit]]:
    """Some bytes to put at some places."""
    numbers = st.sampled_from([b"\0\0", b"\xff\xff", b"\xff\x7f", b"\0\0\x80\x7f", b"\0\0\xc0\x7f", b"\0\0\0\x80"])
    contents = st.one_of(numbers, st.binary(min_size=1, max_size=8))
    return st.lists(st.tuples(st.integers(0, length - 1), contents), min_size=1, max_size=6)


def edited(data: bytes, changes: list[Edit]) -> bytes:
    """The data with the changes, as long as before."""
    result = bytearray(data)
    for place, content in changes:
        result[place : place + len(content)] = content
    return bytes(result[: len(data)])


def read_or_refuse(path: Path) -> None:
    """A scan is read, and is one, or is refused in one sentence."""
    try:
        image = volume.read(path)
    except BadInput as failure:
        sentences(failure)
        return
    values = sitk.GetArrayViewFromImage(image)
    assert image.GetDimension() == 3 and image.GetPixelID() == sitk.sitkFloat32 and np.isfinite(values).all()
    assert np.isfinite([*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()]).all()
    assert min(image.GetSpacing()) > 0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small scan in each format, and a DICOM series."""
    folder = tmp_path_factory.mktemp("files")
    for ending in ("nii", "nrrd", "mha"):
        sitk.WriteImage(brain(), str(folder / f"brain.{ending}"))
    (folder / "series").mkdir()
    for number in range(12):
        image = brain()[:, :, number]
        place = {"0020|0032": f"0\\0\\{5 * number}", "0020|0037": "1\\0\\0\\0\\1\\0", "0020|0013": str(number)}
        names = {"0008|0060": "MR", "0020|000e": "1.2.3", "0020|000d": "1.2", "0008|0018": f"1.2.3.{number}"}
        for tag, value in (place | names).items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / "series" / f"{number:02}.dcm"))
        writer.Execute(image)
    return folder


def test_the_unchanged_files_are_read(files: Path) -> None:
    for name in ("brain.nii", "brain.nrrd", "brain.mha", "series"):
        assert volume.read(files / name).GetSize() == (16, 14, 12), name


@SAME_FOLDER
@given(changes=edits(352), length=st.one_of(st.none(), st.integers(0, 6000)), packed=st.booleans())
def test_nifti_headers(files: Path, tmp_path: Path, changes: list[Edit], length: int | None, packed: bool) -> None:
    data = edited((files / "brain.nii").read_bytes(), changes)[:length]
    path = tmp_path / ("x.nii.gz" if packed else "x.nii")
    path.write_bytes(gzip.compress(data, 1) if packed else data)
    read_or_refuse(path)


FIELDS = ("type", "dimension", "space", "sizes", "space directions", "kinds", "endian", "encoding", "space origin")


VALUES = st.one_of(
    st.sampled_from(
        ["", "0", "-1", "3", "short", "block", "16 14", "16 14 12 1", "1000 1000 1000", "raw", "gzip", "hex"]
    ),
    st.sampled_from(["(0,0,0) (0,0,0) (0,0,0)", "(nan,0,0) (0,5,0) (0,0,5)", "(1e300,0,0)", "none none none", "LIST"]),
    st.text(max_size=30),
    st.integers(-(2**70), 2**70).map(str),
)


@SAME_FOLDER
@given(
    fields=st.dictionaries(
        st.sampled_from([*FIELDS, "data file", "line skip", "byte skip", "measurement frame"]), VALUES
    ),
    missing=st.sets(st.sampled_from(FIELDS), max_size=2),
    changes=st.one_of(st.just([]), edits(300)),
    ending=st.sampled_from(["nrrd", "nhdr"]),
)
def test_nrrd_headers(
    files: Path, tmp_path: Path, fields: dict[str, str], missing: set[str], changes: list[Edit], ending: str
) -> None:
    head, _, voxels = (files / "brain.nrrd").read_bytes().partition(b"\n\n")
    first, *lines = head.decode("ascii").splitlines()
    kept = [line for line in lines if line.split(":")[0] not in {*missing, *fields}]
    new = [f"{name}: {value}" for name, value in fields.items()]
    header = "\n".join([first, *kept, *new]).encode("utf-8", "replace")
    path = tmp_path / f"x.{ending}"
    path.write_bytes(edited(header, [change for change in changes if change[0] < len(header)]) + b"\n\n" + voxels)
    read_or_refuse(path)


@SAME_FOLDER
@given(changes=edits(400))
def test_metaimage_headers(files: Path, tmp_path: Path, changes: list[Edit]) -> None:
    data = (files / "brain.mha").read_bytes()
    (tmp_path / "x.mha").write_bytes(edited(data, [change for change in changes if change[0] < len(data)]))
    read_or_refuse(tmp_path / "x.mha")


@SAME_FOLDER
@given(
    changes=st.dictionaries(st.integers(0, 11), edits(1000), min_size=1, max_size=3),
    length=st.one_of(st.none(), st.integers(0, 1500)),
    gone=st.sets(st.integers(0, 11), max_size=2),
)
def test_dicom_headers(
    files: Path, tmp_path: Path, changes: dict[int, list[Edit]], length: int | None, gone: set[int]
) -> None:
    folder = tmp_path / "series"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, file in enumerate(sorted((files / "series").iterdir())):
        data = file.read_bytes()
        if number in changes:
            data = edited(data, [change for change in changes[number] if change[0] < len(data)])[:length]
        if number not in gone:
            (folder / file.name).write_bytes(data)
    read_or_refuse(folder)
