"""Reading scans of every kind, refusing what is not one with a clear sentence, and writing all or nothing."""

from __future__ import annotations

import errno
import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from placed_scan import GRID, refused, same_place, scan

from conddiffusion_uad.io import volume
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.protocol.failures import BadInput, OutputFailure


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_format_and_pixel_type_is_read_as_float_in_its_place(tmp_path: Path, ending: str, dtype: type) -> None:
    image = scan(dtype, 30.0, 120.0)
    path = tmp_path / f"scan{ending}"
    sitk.WriteImage(image, str(path))
    read = volume.read(path)
    assert read.GetPixelID() == sitk.sitkFloat32
    same_place(read)
    np.testing.assert_allclose(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(image), rtol=1e-6)


def nifti(path: Path, change: Callable[[bytearray], None], image: sitk.Image | None = None) -> Path:
    """A NIfTI file whose 348-byte header has been changed."""
    plain = path.parent / "plain.nii"
    sitk.WriteImage(image or scan(), str(plain))
    data = bytearray(plain.read_bytes())
    change(data)
    path.write_bytes(gzip.compress(bytes(data)) if path.suffix == ".gz" else data)
    return path


def test_scaled_integers_and_big_endian_files_keep_their_values(tmp_path: Path) -> None:
    expected = sitk.GetArrayFromImage(scan()).astype(float)
    scaled = nifti(tmp_path / "scaled.nii.gz", lambda data: struct.pack_into("<2f", data, 112, 0.5, -10.0))
    np.testing.assert_allclose(sitk.GetArrayFromImage(volume.read(scaled)), expected * 0.5 - 10.0, atol=1e-3)
    image = nibabel.load(tmp_path / "plain.nii")
    swapped = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header.as_byteswapped(">"))
    nibabel.save(swapped, tmp_path / "big.nii.gz")
    read = volume.read(tmp_path / "big.nii.gz")
    same_place(read)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), expected)


def test_one_time_point_is_a_volume_and_two_are_not(tmp_path: Path) -> None:
    for count, path in ((1, tmp_path / "one.nii.gz"), (2, tmp_path / "two.nii.gz")):
        sitk.WriteImage(sitk.JoinSeries([scan()] * count), str(path))
    same_place(volume.read(tmp_path / "one.nii.gz"))
    assert refused(tmp_path / "two.nii.gz").code == "not_3d"


def label_map() -> sitk.Image:
    z, y, x = np.indices(GRID.size[::-1])
    return GRID.with_array(((x // 5) * 1000 + (y // 6) * 10 + (z > 8)).astype(np.int16))


def labels_of_a_parcellation() -> sitk.Image:
    z, y, x = np.indices((40, 40, 40))
    values = ((z // 8) * 25 + (y // 8) * 5 + x // 8 + 1).astype(np.float32)
    return Grid((40, 40, 40), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0)).with_array(values)


def holding(value: float) -> Callable[[], sitk.Image]:
    def make() -> sitk.Image:
        values = sitk.GetArrayFromImage(scan(np.float32))
        values[3, 4, 5] = value
        return GRID.with_array(values)

    return make


def spaced(*spacing: float) -> Callable[[], sitk.Image]:
    def make() -> sitk.Image:
        image = scan()
        image.SetSpacing(spacing)
        return image

    return make


BAD_IMAGES: dict[str, tuple[str, Callable[[], sitk.Image]]] = {
    "two dimensions": ("not_3d", lambda: scan()[:, :, 3]),
    "one slice": ("not_3d", lambda: scan()[:, :, 3:4]),
    "color": ("is_rgb", lambda: sitk.Compose([sitk.Cast(scan(), sitk.sitkUInt8)] * 3)),
    "vectors": ("is_rgb", lambda: sitk.Compose([sitk.Cast(scan(), sitk.sitkFloat32)] * 2)),
    "labels": ("label_map", label_map),
    "a mask": ("label_map", lambda: scan() > 500),
    "a parcellation": ("label_map", labels_of_a_parcellation),
    "a parcellation of large numbers": ("label_map", lambda: labels_of_a_parcellation() * 1000),
    "zeros": ("all_zero", lambda: scan() * 0),
    "one value": ("constant", lambda: scan() * 0 + 7),
    "NaN": ("not_finite", holding(float("nan"))),
    "infinite": ("not_finite", holding(float("inf"))),
    "three voxels": ("too_small", lambda: scan()[:3, :3, :3]),
    "three slices": ("too_small", lambda: scan()[:, :, :3]),
    "microscopy": ("bad_spacing", spaced(0.01, 0.01, 0.01)),
    "meters": ("bad_spacing", spaced(50.0, 50.0, 50.0)),
    "a pencil": ("too_small", spaced(1.0, 1.0, 4.0)),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_what_is_not_a_scan_is_refused(tmp_path: Path, kind: str) -> None:
    code, make = BAD_IMAGES[kind]
    path = tmp_path / "image.nii.gz"
    sitk.WriteImage(make(), str(path))
    assert refused(path).code == code


def test_files_that_are_missing_foreign_or_empty_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "nothing.nii").code == "file_not_found"
    for name in ("text.nii", "text.nii.gz", "text.nrrd", "text.mha", "text.txt"):
        (tmp_path / name).write_text("not an image")
        assert refused(tmp_path / name).code in ("not_an_image", "truncated")
        (tmp_path / name).write_bytes(b"")
        assert refused(tmp_path / name).code == "truncated"
    assert refused(tmp_path).code == "not_an_image"


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, ending: str, share: float) -> None:
    path = tmp_path / f"scan{ending}"
    sitk.WriteImage(scan(), str(path))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert refused(path).code in ("truncated", "not_an_image")


def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    huge = nifti(tmp_path / "huge.nii", lambda data: struct.pack_into("<8h", data, 40, 3, *[32767] * 3, 1, 1, 1, 1))
    assert refused(huge).code == "too_large"

    def enlarge(data: bytearray) -> None:
        struct.pack_into("<8h", data, 40, 3, *[600] * 3, 1, 1, 1, 1)
        struct.pack_into("<3f", data, 80, 0.5, 0.5, 0.5)
        struct.pack_into("<h", data, 254, 0)

    large = nifti(tmp_path / "big.nii.gz", enlarge)
    assert refused(large).code == "truncated"
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: LPS\nsizes: 600 600 600\nencoding: raw\nendian: little\n"
        "space directions: (0.5,0,0) (0,0.5,0) (0,0,0.5)\n\n"
    )
    (tmp_path / "big.nrrd").write_text(header)
    assert refused(tmp_path / "big.nrrd").code in ("truncated", "not_an_image")


def sheared(amount: float) -> Callable[[bytearray], None]:
    """Gives a NIfTI header an sform whose first two axes are off a right angle."""

    def change(data: bytearray) -> None:
        struct.pack_into("<2h", data, 252, 0, 1)
        struct.pack_into("<12f", data, 280, 2.5, 2.0 * amount, 0, 0, 0, 2.0, 0, 0, 0, 0, 4.0, 0)

    return change


def test_a_thin_volume_is_read_where_it_is_wanted_and_a_pencil_never(tmp_path: Path) -> None:
    sitk.WriteImage(spaced(2.0, 2.0, 1.0)(), str(tmp_path / "thin.nii.gz"))
    assert refused(tmp_path / "thin.nii.gz").code == "too_small"
    assert volume.read(tmp_path / "thin.nii.gz", thin=True).GetSpacing()[2] == 1.0
    sitk.WriteImage(spaced(1.0, 1.0, 4.0)(), str(tmp_path / "pencil.nii.gz"))
    with pytest.raises(BadInput, match="not a head"):
        volume.read(tmp_path / "pencil.nii.gz", thin=True)


def test_axes_off_a_right_angle_by_rounding_are_straightened_and_sheared_ones_refused(tmp_path: Path) -> None:
    nearly = volume.read(nifti(tmp_path / "nearly.nii.gz", sheared(0.002)))
    direction = np.array(nearly.GetDirection()).reshape(3, 3)
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-9)
    assert refused(nifti(tmp_path / "sheared.nii.gz", sheared(0.3))).code == "bad_direction"


def test_a_direction_that_cannot_be_inverted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flat.nrrd"
    sitk.WriteImage(scan(), str(path))
    head, _, body = path.read_bytes().partition(b"\n\n")
    lines = [b"space directions: (2,0,0) (2,0,0) (0,0,4)" if line.startswith(b"space dir") else line
             for line in head.split(b"\n")]  # fmt: skip
    path.write_bytes(b"\n".join(lines) + b"\n\n" + body)
    assert refused(path).code == "bad_direction"

    def flatten(data: bytearray) -> None:
        struct.pack_into("<2h", data, 252, 0, 1)
        struct.pack_into("<12f", data, 280, 2.5, 0, 0, 0, 2.5, 0, 0, 0, 0, 0, 4.0, 0)

    assert refused(nifti(tmp_path / "flat.nii", flatten)).code == "bad_direction"


def test_a_nifti_file_whose_voxels_begin_in_its_header_is_refused(tmp_path: Path) -> None:
    assert refused(nifti(tmp_path / "x.nii", lambda data: struct.pack_into("<f", data, 108, 128.0))).code == "truncated"


@pytest.mark.parametrize("name", ["x.img", "x.hdr", "x.img.gz"])
def test_a_scan_in_two_files_is_read_and_refused_like_one_in_one(name: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((20, 22, 24)).astype(np.float32)
    scan = sitk.GetImageFromArray(values)
    scan.SetSpacing((4.0, 4.0, 4.0))
    sitk.WriteImage(scan, str(tmp_path / name))
    assert (sitk.GetArrayFromImage(volume.read(tmp_path / name)) == values).all()
    values[5:8] = np.nan
    scan = sitk.GetImageFromArray(values)
    scan.SetSpacing((4.0, 4.0, 4.0))
    sitk.WriteImage(scan, str(tmp_path / name))
    assert refused(tmp_path / name).code == "not_finite"


def test_a_grid_survives_json_and_carries_arrays() -> None:
    assert Grid.from_json(GRID.to_json()) == GRID
    assert Grid.of(GRID.blank()) == GRID
    values = np.arange(np.prod(GRID.size), dtype=np.float32).reshape(GRID.size[::-1])
    image = GRID.with_array(values)
    assert image[3, 2, 1] == values[1, 2, 3]
    with pytest.raises(ValueError, match="does not fit"):
        GRID.with_array(values.transpose())
    with pytest.raises(ValueError, match="Not a grid"):
        Grid.from_json({**GRID.to_json(), "spacing": [1.0, -1.0, 1.0]})


def test_what_is_written_is_read_back_in_its_place(tmp_path: Path) -> None:
    volume.write(scan(np.float32), tmp_path / "out.nii.gz")
    read = volume.read(tmp_path / "out.nii.gz")
    same_place(read)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(scan(np.float32)))
    first = (tmp_path / "out.nii.gz").read_bytes()
    volume.write(scan(np.float32), tmp_path / "out.nii.gz")
    assert (tmp_path / "out.nii.gz").read_bytes() == first


def test_an_output_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputFailure) as caught:
        volume.write(scan(), tmp_path / "no" / "such" / "folder.nii.gz")
    assert caught.value.code == "cannot_write"


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "disk_full"), (errno.EROFS, "cannot_write")])
def test_what_is_written_in_part_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def half(image: nibabel.Nifti1Image, stream: BinaryIO) -> None:
        stream.write(np.random.default_rng(0).bytes(1000))
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(nibabel.Nifti1Image, "to_stream", half)
    with pytest.raises(OutputFailure) as caught:
        volume.write(scan(), tmp_path / "out.nii.gz")
    assert caught.value.code == code
    assert not list(tmp_path.iterdir())
