"""Results arrive as a whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from conddiffusion_uad.app import cli, output
from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.failures import EXIT_OUTPUT, OutputFailure


def write_all(private: Path, text: str) -> None:
    for name in result_files.FILES:
        (private / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_are_private_until_they_are_complete(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "deep"
    with output.staged(folder, force=False) as private:
        write_all(private, "1")
        assert not (tmp_path / "new").exists()
        if os.name == "posix":
            assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert contents(folder) == dict.fromkeys(result_files.FILES, "1")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_the_finished_folder_may_be_read_by_others_as_usual(tmp_path: Path) -> None:
    (tmp_path / "usual").mkdir()
    with output.staged(tmp_path / "out", force=False) as private:
        write_all(private, "1")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("exists", [False, True])
def test_a_failure_leaves_nothing(tmp_path: Path, error: BaseException, exists: bool) -> None:
    folder = tmp_path / "out"
    if exists:
        folder.mkdir()
    with pytest.raises(type(error)), output.staged(folder, force=False) as private:
        (private / result_files.HEATMAP).write_text("half")
        raise error
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == (["out"] if exists else [])


def test_an_empty_folder_is_welcome_also_one_with_remains_of_a_killed_run(tmp_path: Path) -> None:
    (tmp_path / ".conddiffusion-uad-killed").mkdir()
    with output.staged(tmp_path, force=False) as private:
        write_all(private, "1")
    assert set(result_files.FILES) <= set(os.listdir(tmp_path))


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputFailure) as caught, output.staged(tmp_path, force=False):
        pass
    assert caught.value.code == "output_exists" and "--force" in caught.value.hint
    assert contents(tmp_path) == {"notes.txt": "mine"}


@pytest.mark.parametrize("link", [False, True])
def test_a_result_never_replaces_the_scan_itself(
    link: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = tmp_path / "reconstruction.nii.gz"
    scan.write_bytes(b"of an earlier run, to be examined")
    given = scan
    if link:
        given = tmp_path / "elsewhere.nii.gz"
        given.symlink_to(scan)
    command = ["detect", str(given), "--output", str(tmp_path), "--force", "--contrast", "T1", "--json"]
    assert cli.main(command) == EXIT_OUTPUT
    error = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (error["code"], error["message"]) == (
        "output_exists",
        "The result reconstruction.nii.gz would replace the scan itself.",
    )
    assert scan.read_bytes() == b"of an earlier run, to be examined"


def test_force_replaces_results_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    write_all(tmp_path, "old")
    with output.staged(tmp_path, force=True) as private:
        write_all(private, "new")
    assert contents(tmp_path) == {"notes.txt": "mine", **dict.fromkeys(result_files.FILES, "new")}


def test_what_is_written_only_when_asked_for_does_not_outlive_the_results_that_it_belongs_to(tmp_path: Path) -> None:
    for text, more in (("old", {result_files.UNCERTAINTY: "old"}), ("new", {})):
        with output.staged(tmp_path / "out", force=True) as private:
            write_all(private, text)
            for name, content in more.items():
                (private / name).write_text(content)
        assert contents(tmp_path / "out") == {**dict.fromkeys(result_files.FILES, text), **more}


def test_when_replacing_fails_half_way_the_earlier_results_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_all(tmp_path, "old")
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if target == tmp_path / result_files.SEGMENTATION and "results" in str(source):
            raise OSError(errno.EACCES, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OutputFailure) as caught, output.staged(tmp_path, force=True) as private:
        write_all(private, "new")
    assert caught.value.code == "cannot_write"
    assert contents(tmp_path) == dict.fromkeys(result_files.FILES, "old")


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputFailure) as caught, output.staged(folder, force=True):
            pass
        assert caught.value.code == "cannot_write" and "not a folder" in caught.value.message
    assert contents(tmp_path) == {"file": "mine"}


@pytest.mark.skipif(os.name != "posix", reason="links need a privilege")
@pytest.mark.parametrize("target", ["absent", "out"])
def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "out").symlink_to(tmp_path / target)
    with pytest.raises(OutputFailure) as caught, output.staged(tmp_path / "out", force=True):
        pass
    assert caught.value.code == "cannot_write" and "link that leads nowhere" in caught.value.message


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_full_disk_is_told_as_such(tmp_path: Path, number: int) -> None:
    with pytest.raises(OutputFailure) as caught, as_output_failure(tmp_path):
        raise OSError(number, os.strerror(number))
    assert caught.value.code == "disk_full" and str(tmp_path) in caught.value.message


def test_a_failure_of_a_writer_names_the_folder_that_the_user_knows(tmp_path: Path) -> None:
    with pytest.raises(OutputFailure) as caught, as_output_failure(tmp_path / "out"):
        raise OutputFailure("disk_full", "There is no room for /private/heatmap.nii.gz.")
    assert "private" not in caught.value.message and str(tmp_path / "out") in caught.value.message


def test_private_folders_can_be_removed_from_outside(tmp_path: Path) -> None:
    with pytest.raises(OutputFailure), output.staged(tmp_path / "out", force=False) as private:
        write_all(private, "1")
        output.remove_all_private()
        assert not private.exists()
    assert list(tmp_path.iterdir()) == []
