"""Several scans in one job: their folders tell where they are from, and a table which is which."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conddiffusion_uad.app import several
from conddiffusion_uad.app.console import Console


def test_folders_of_equal_names_tell_their_origin() -> None:
    inputs = ["/a/T1.nii.gz", "/b/T1.NII", "/c/t1.nrrd", "series/", "/d/scan.one.mha"]
    assert several.folder_names(inputs) == ["a_T1", "b_T1", "c_t1", "series", "scan.one"]


def test_folders_go_as_far_up_as_it_takes_and_count_what_is_given_twice() -> None:
    inputs = ["/ann/day1/flair.nii", "/bob/day1/flair.nii", "/bob/day2/flair.nii", "/bob/day2/flair.nii"]
    names = several.folder_names(inputs)
    assert names[:2] == ["ann_day1_flair", "bob_day1_flair"]
    assert names[2].startswith("bob_day2_flair") or names[2] == "day2_flair"
    assert names[3] == f"{names[2]}-2"


def rows(folder: Path) -> list[list[str]]:
    with (folder / several.TABLE).open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def test_the_table_says_which_folder_is_of_which_scan_and_keeps_the_others(tmp_path: Path) -> None:
    several.write_table(tmp_path / "out", [(tmp_path / "out" / "a", "/x/a, odd.nii", "done")])
    several.write_table(tmp_path / "out", [(tmp_path / "out" / "b", "/x/b.nii", "truncated")])
    several.write_table(tmp_path / "out", [(tmp_path / "out" / "a", "/y/a.nii", "not_3d")])
    assert rows(tmp_path / "out") == [
        list(several.COLUMNS),
        ["a", os.path.abspath("/y/a.nii"), "not_3d"],
        ["b", os.path.abspath("/x/b.nii"), "truncated"],
    ]


def test_no_name_of_a_file_comes_into_a_report(tmp_path: Path) -> None:
    (tmp_path / "Doe").mkdir()
    (tmp_path / "Doe" / "notes (1).txt").touch()
    assert several.nameless("Some files in Doe are not DICOM: notes (1).txt.", str(tmp_path / "Doe")) == (
        "Some files in [file] are not DICOM: [file]."
    )
    told = "The header of Doe_t1ce.nii contradicts itself; its name is 'Doe_t1ce'."
    assert several.nameless(told, "/x/Doe_t1ce.nii") == "The header of [file] contradicts itself; its name is '[file]'."


def test_every_warning_and_failure_of_several_scans_says_of_which(capsys: pytest.CaptureFixture[str]) -> None:
    emit = several.named(Console(), "/x/ann.nii")
    emit({"event": "stage", "name": "read", "index": 1, "total": 2})
    emit({"event": "warning", "code": "a", "message": "Odd.", "hint": ""})
    emit({"event": "error", "code": "b", "message": "Bad.", "hint": ""})
    told = capsys.readouterr().err
    assert "Warning: /x/ann.nii: Odd." in told and "Error: /x/ann.nii: Bad." in told


@pytest.mark.skipif(os.name != "posix", reason="Windows shells close no streams")
@pytest.mark.parametrize("json", ["", "--json"])
@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_neither_exit_code_nor_the_rest(
    closed: str, json: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    command = f"exec '{sys.executable}' -m conddiffusion_uad detect nothing.nii --output out {json} {closed}"
    ended = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stdout + ended.stderr
    if json and ">&- " not in f"{closed} ".replace("2>&- ", ""):
        assert '"file_not_found"' in ended.stdout
