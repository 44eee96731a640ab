"""Temporary folders: what a crashed Slicer left is removed, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from standin.application import Application

SOURCES = Path(__file__).resolve().parents[2] / "CondDiffusionUAD"
HOLD = """
import sys
from CondDiffusionUADLib.run.Folders import PrivateFolder
folder = PrivateFolder(sys.argv[1])
(folder.path / "scan.nrrd").write_text("a patient")
print(folder.path, flush=True)
sys.stdin.read()
"""


def make_old(folder: Path, seconds: float = 3600.0) -> None:
    """As if it had been made that long ago."""
    then = time.time() - seconds
    os.utime(folder, (then, then))


def test_a_folder_is_private_and_goes_with_all_that_is_in_it(app: Application, tmp_path: Path) -> None:
    from CondDiffusionUADLib.run.Folders import PrivateFolder, sweep

    folder = PrivateFolder(tmp_path)
    (folder.path / "scan.nrrd").touch()
    if os.name == "posix":
        assert folder.path.stat().st_mode & 0o077 == 0
    make_old(folder.path)
    assert sweep(tmp_path) == [] and folder.path.exists(), "this process lives"
    folder.remove()
    assert not folder.path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no signals")
def test_what_a_killed_process_left_is_swept(app: Application) -> None:
    from CondDiffusionUADLib.run.Folders import sweep

    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, app.temporaryPath],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    make_old(folder)
    sweep(app.temporaryPath)
    assert (folder / "scan.nrrd").exists(), "the other process still works with it"
    process.send_signal(signal.SIGKILL)
    process.wait()
    make_old(folder)
    sweep(app.temporaryPath)
    assert not folder.exists()


def test_what_is_young_or_not_ours_stays(app: Application, tmp_path: Path) -> None:
    from CondDiffusionUADLib.run.Folders import PREFIX, sweep

    young, file, other = tmp_path / f"{PREFIX}young", tmp_path / f"{PREFIX}file", tmp_path / "Slicer-other"
    young.mkdir()
    file.touch()
    other.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    link = tmp_path / f"{PREFIX}link"
    link.symlink_to(target)
    for path in (file, other, target):
        make_old(path)
    assert sweep(tmp_path) == []
    assert young.exists() and file.exists() and other.exists() and target.exists()


def test_where_there_are_no_locks_only_what_is_very_old_is_swept(
    app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CondDiffusionUADLib.run import Folders

    monkeypatch.setattr(Folders, "acquire", lambda folder: None)
    for name, days in (("a", 1), ("b", 8)):
        folder = tmp_path / f"{Folders.PREFIX}{name}"
        folder.mkdir()
        make_old(folder, days * 24 * 3600.0)
    assert [folder.name for folder in Folders.sweep(tmp_path)] == [f"{Folders.PREFIX}b"]
