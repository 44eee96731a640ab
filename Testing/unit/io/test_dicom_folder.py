"""Folders of DICOM files: read as one volume, or refused with what is in them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from placed_scan import GRID, refused, same_place, scan

from conddiffusion_uad.io import volume
from conddiffusion_uad.io.volume import Grid


def series(folder: Path, places: list[float], uid: str = "1.2.3", description: str = "t2 tse") -> None:
    """A DICOM series of slices at the given heights, mm."""
    folder.mkdir(exist_ok=True)
    values = sitk.GetArrayFromImage(scan())
    for number, place in enumerate(places):
        image = sitk.GetImageFromArray(values[number])
        image.SetSpacing((2.5, 2.0))
        tags = {
            "0008|0060": "MR",
            "0008|103e": description,
            "0018|0050": "4",
            "0020|000e": uid,
            "0020|000d": "1.2",
            "0020|0013": str(number),
            "0020|0032": f"-30\\12.5\\{place}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0008|0018": f"{uid}.{number}",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{uid}-{number:03}.dcm"))
        writer.Execute(image)


def test_a_folder_with_one_series_is_read_with_its_tags(tmp_path: Path) -> None:
    series(tmp_path / "study", [7.0 + 4.0 * n for n in range(16)])
    image = volume.read(tmp_path / "study")
    same_place(image, Grid(GRID.size, GRID.spacing, GRID.origin))
    assert image.GetMetaData("SeriesDescription") == "t2 tse"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(scan()))


def test_distances_that_differ_by_a_hair_are_read_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    series(tmp_path / "study", [7.0 + 4.0 * n + 0.05 * (n == 9) for n in range(16)])
    assert volume.read(tmp_path / "study").GetSize() == GRID.size
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("place", "code"),
    # Of what is no number, the library that writes these files makes another place.
    [("nan", "bad_tag"), ("", "irregular_slices"), ("1\\2", "irregular_slices"), ("far", "irregular_slices")],
)
def test_places_that_are_none_are_named(tmp_path: Path, place: str, code: str) -> None:
    series(tmp_path / "study", [7.0, 11.0, place, *(19.0 + 4.0 * n for n in range(9))])  # type: ignore[list-item]
    failure = refused(tmp_path / "study")
    assert failure.code == code
    assert "ImagePositionPatient" in failure.message and ".dcm" in failure.message


def test_a_dicom_file_that_claims_more_than_it_has_is_refused_before_it_is_read(tmp_path: Path) -> None:
    series(tmp_path / "study", [7.0 + 4.0 * n for n in range(16)])
    file = sorted((tmp_path / "study").iterdir())[3]
    file.write_bytes(file.read_bytes()[:-10])
    failure = refused(tmp_path / "study")
    assert failure.code == "truncated" and file.name in failure.message


def test_several_series_are_named(tmp_path: Path) -> None:
    for uid, description in (("1.2.3", "t1 mprage"), ("1.2.4", "flair")):
        series(tmp_path / "study", [4.0 * n for n in range(10)], uid, description)
    failure = refused(tmp_path / "study")
    assert failure.code == "several_series"
    assert "t1 mprage" in failure.message
    assert "flair" in failure.message


def test_missing_and_repeated_slices_are_refused(tmp_path: Path) -> None:
    series(tmp_path / "gap", [4.0 * n for n in range(12) if n != 5])
    assert refused(tmp_path / "gap").code == "irregular_slices"
    series(tmp_path / "twice", [4.0 * (n // 2) for n in range(16)])
    assert refused(tmp_path / "twice").code == "several_stacks"


def test_one_slice_of_a_series_is_refused(tmp_path: Path) -> None:
    series(tmp_path / "study", [4.0 * n for n in range(10)])
    assert refused(next((tmp_path / "study").iterdir())).code == "not_3d"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_refused_and_does_not_end_the_process(tmp_path: Path) -> None:
    series(tmp_path / "study", [7.0 + 4.0 * n for n in range(16)])
    odd = tmp_path / "study" / "odd\udcff.dcm"
    sorted((tmp_path / "study").iterdir())[3].rename(odd)
    assert refused(tmp_path / "study").code == refused(odd).code == "not_readable"
