"""Compressed voxels that are damaged, endless or in no file are refused, and those that are whole are read."""

from __future__ import annotations

import bz2
import gzip
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.io import packing, volume
from conddiffusion_uad.protocol.failures import BadInput

Change = Callable[[bytearray], None]


@pytest.fixture(scope="module")
def brain() -> sitk.Image:
    """Values that pass as a scan."""
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 1000, (20, 22, 24)).astype(np.int16))
    image.SetSpacing((4.0, 4.0, 4.0))
    return image


def refused(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        volume.read(path)
    return caught.value.code


@pytest.mark.parametrize("name", ["x.nii.gz", "x.nrrd", "x.nhdr", "x.mha", "x.mhd"])
def test_compressed_voxels_are_read_when_they_are_whole_and_refused_when_a_bit_is_flipped(
    name: str, brain: sitk.Image, tmp_path: Path
) -> None:
    sitk.WriteImage(brain, str(tmp_path / name), useCompression=True)
    assert (sitk.GetArrayFromImage(volume.read(tmp_path / name)) == sitk.GetArrayFromImage(brain)).all()
    packed = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    whole = packed.read_bytes()
    for place in np.linspace(len(whole) // 3, len(whole) - 18, 12).astype(int):
        data = bytearray(whole)
        data[place] ^= 4
        packed.write_bytes(data)
        assert refused(tmp_path / name) in ("truncated", "not_an_image"), place
    packed.write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path / name) in ("truncated", "not_an_image")


def test_a_compressed_file_of_several_parts_is_read(brain: sitk.Image, tmp_path: Path) -> None:
    sitk.WriteImage(brain, str(tmp_path / "x.nii"))
    data = (tmp_path / "x.nii").read_bytes()
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(data[:5000]) + gzip.compress(data[5000:]) + b"\0" * 512)
    assert (sitk.GetArrayFromImage(volume.read(tmp_path / "x.nii.gz")) == sitk.GetArrayFromImage(brain)).all()


NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 20 20 20\nendian: little\n"
    "space directions: (5,0,0) (0,5,0) (0,0,5)\nspace origin: (0,0,0)\nencoding: {packing}\n{more}\n"
)
META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nElementSpacing = 5 5 5\nDimSize = 20 20 20\n"
    "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
    "ElementType = MET_SHORT\nCompressedData = {packed}\nElementDataFile = {more}\n"
)


def test_packed_voxels_are_no_text_whatever_a_header_says(brain: sitk.Image, tmp_path: Path) -> None:
    """Text may be many times as long as its values, so that a small file could unpack to more than the memory holds."""
    values = sitk.GetArrayFromImage(brain).astype("<i2")
    size = " ".join(map(str, brain.GetSize()))
    header = META.format(packed=True, more="LOCAL").replace("20 20 20", size).replace("Data = True", "Data = False", 1)
    assert "BinaryData = False" in header
    (tmp_path / "x.mha").write_bytes(header.encode() + zlib.compress(values.tobytes()))
    assert (sitk.GetArrayFromImage(volume.read(tmp_path / "x.mha")) == values).all()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such files")
@pytest.mark.parametrize("target", ["pipe", "/dev/zero"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("listed", ["", "LIST\n"])
def test_voxels_in_a_pipe_or_a_device_are_not_waited_for(
    target: str, packed: bool, listed: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    nrrd, meta = tmp_path / "x.nhdr", tmp_path / "x.mhd"
    nrrd.write_text(NRRD.format(packing="gzip" if packed else "raw", more=f"data file: {listed}{target}\n"))
    meta.write_text(META.format(packed=packed, more=f"{listed}{target}"))
    assert refused(nrrd) == refused(meta) == "not_an_image"


def zeros(packer: zlib._Compress, megabytes: int) -> bytes:
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


def test_what_unpacks_to_far_more_than_its_header_promises_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_MOST_MORE", 1 << 20)
    gzipped = zeros(zlib.compressobj(1, zlib.DEFLATED, 31), 16)
    (tmp_path / "x.nrrd").write_bytes(NRRD.format(packing="gzip", more="").encode() + gzipped)
    (tmp_path / "x.mha").write_bytes(META.format(packed=True, more="LOCAL").encode() + zlib.compress(bytes(16 << 20)))
    assert refused(tmp_path / "x.nrrd") == refused(tmp_path / "x.mha") == "truncated"
    (tmp_path / "x.nrrd").write_bytes(NRRD.format(packing="gzip", more="byte skip: 8000000000\n").encode() + gzipped)
    assert refused(tmp_path / "x.nrrd") == "truncated"


@pytest.mark.parametrize("begin", [7e9, 1e30, -1.0, float("nan")])
def test_a_nifti_file_whose_voxels_begin_far_away_is_refused_before_it_is_unpacked(
    begin: float, brain: sitk.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading(*_: object) -> None:
        raise AssertionError("it would unpack all that is before")

    sitk.WriteImage(brain, str(tmp_path / "x.nii"))
    data = bytearray((tmp_path / "x.nii").read_bytes())
    struct.pack_into("<f", data, 108, begin)
    (tmp_path / "x.nii").write_bytes(data)
    monkeypatch.setattr(packing.Stored, "take", reading)
    assert refused(tmp_path / "x.nii") == "truncated"


def test_of_what_is_no_image_only_a_part_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.nii.gz").write_bytes(zeros(zlib.compressobj(1, zlib.DEFLATED, 31), 64))
    unpacked, unpack = [], packing.Stored.blocks

    def counted(self: packing.Stored) -> Iterator[bytes]:
        for block in unpack(self):
            unpacked.append(len(block))
            yield block

    monkeypatch.setattr(packing.Stored, "blocks", counted)
    assert refused(tmp_path / "x.nii.gz") == "not_an_image"
    assert 0 < sum(unpacked) < 8 << 20


@pytest.mark.parametrize("packer", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("behind", [b"", bytes(512), b"something else", b"\x1f"])
def test_what_follows_the_packed_voxels_does_not_matter(
    packer: Callable[[bytes], bytes], behind: bytes, brain: sitk.Image, tmp_path: Path
) -> None:
    sitk.WriteImage(brain, str(tmp_path / "x.nii"))
    data = (tmp_path / "x.nii").read_bytes()
    (tmp_path / "y.nii.gz").write_bytes(packer(data[:7000]) + packer(data[7000:]) + behind)
    assert (sitk.GetArrayFromImage(volume.read(tmp_path / "y.nii.gz")) == sitk.GetArrayFromImage(brain)).all()
