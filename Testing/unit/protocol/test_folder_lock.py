"""A lock on a folder excludes others and ends with its process; runs at once into one folder do not mix."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conddiffusion_uad.app import output
from conddiffusion_uad.protocol import folder_lock, result_files
from conddiffusion_uad.protocol.failures import OutputFailure
from conddiffusion_uad.protocol.folder_lock import LockedError, acquire, locked

needs_posix = pytest.mark.skipif(os.name != "posix", reason="needs locks and signals of POSIX")


def test_one_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path, 0):
        with pytest.raises(LockedError):
            acquire(tmp_path)
        with pytest.raises(LockedError), locked(tmp_path, 0.05):
            pass
    with locked(tmp_path, 0):
        pass


@needs_posix
def test_the_lock_ends_with_its_process(tmp_path: Path, environment: dict[str, str]) -> None:
    program = (
        "import sys, time; from pathlib import Path; from conddiffusion_uad.protocol.folder_lock import acquire;"
        "acquire(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with pytest.raises(LockedError):
            acquire(tmp_path)
        process.send_signal(signal.SIGKILL)
    with locked(tmp_path, 1):
        pass


@needs_posix
@pytest.mark.parametrize("error", [OSError(95, "Operation not supported"), OSError(37, "No locks available")])
def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def refusing(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(folder_lock.fcntl, "flock", refusing)
    with locked(tmp_path, 0):
        assert acquire(tmp_path) is None


def test_the_lock_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "fcntl", None)
    descriptor = acquire(tmp_path)
    assert descriptor is not None
    with pytest.raises(LockedError):
        acquire(tmp_path)
    os.close(descriptor)  # Windows then removes the file
    (file,) = tmp_path.iterdir()
    assert file.name.startswith(".conddiffusion-uad-"), "so that it does not count as a result"


def write_all(private: Path, text: str) -> None:
    for name in result_files.FILES:
        (private / name).write_text(text)


def contents(folder: Path) -> set[str]:
    return {path.read_text() for path in folder.iterdir() if path.name in result_files.FILES}


@pytest.mark.parametrize("exists", [False, True])
def test_of_two_runs_into_one_folder_the_slower_is_refused(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "out"
    if exists:
        folder.mkdir()
    with pytest.raises(OutputFailure) as caught, output.staged(folder, force=False) as slow:
        with output.staged(folder, force=False) as quick:
            write_all(quick, "quick")
        write_all(slow, "slow")
    assert caught.value.code == "output_exists"
    assert contents(folder) == {"quick"} and sorted(os.listdir(folder)) == sorted(result_files.FILES)
    assert os.listdir(tmp_path) == ["out"]


def test_by_force_the_slower_replaces_the_quicker_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with output.staged(folder, force=True) as slow:
        with output.staged(folder, force=True) as quick:
            write_all(quick, "quick")
        write_all(slow, "slow")
    assert contents(folder) == {"slow"} and sorted(os.listdir(folder)) == sorted(result_files.FILES)


def _publish_often(folder: Path, text: str, times: int) -> None:
    for _ in range(times):
        with output.staged(folder, force=True) as private:
            write_all(private, text)


@needs_posix
def test_results_of_processes_that_write_at_once_do_not_mix(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_publish_often, args=(folder, text, 30)) for text in "abc"]
    for writer in writers:
        writer.start()
    mixed = 0
    while any(writer.is_alive() for writer in writers):
        try:
            with locked(folder, 5):
                mixed += len(contents(folder)) > 1
        except (OSError, LockedError):
            continue
        time.sleep(0.001)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert mixed == 0 and len(contents(folder)) == 1
    assert sorted(os.listdir(folder)) == sorted(result_files.FILES) and os.listdir(tmp_path) == ["out"]


@needs_posix
def test_what_a_killed_run_left_is_removed_by_the_next_one_and_what_a_live_one_holds_is_not(tmp_path: Path) -> None:
    old = time.time() - 60
    with output.staged(tmp_path / "name", force=False) as private:
        own = private.name.rpartition("-")[0]
        write_all(private, "0")
    killed = tmp_path / f"{own}-killed"
    killed.mkdir()
    (killed / result_files.HEATMAP).write_text("of a patient")
    young = tmp_path / f"{own}-young"
    young.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / f"{own}-link").symlink_to(elsewhere)
    with output.staged(tmp_path / "live", force=False) as live:
        for path in (killed, live, elsewhere):
            os.utime(path, (old, old))
        with output.staged(tmp_path / "next", force=False) as private:
            write_all(private, "1")
        assert live.exists() and young.exists() and elsewhere.exists() and not killed.exists()
        write_all(live, "2")
    assert contents(tmp_path / "live") == {"2"}


@needs_posix
def test_what_runs_on_another_computer_hold_is_kept_though_their_locks_are_not_seen(tmp_path: Path) -> None:
    """As on a network drive whose locks are of each computer only; after a week nobody can be at work any more."""
    running, killed = tmp_path / ".conddiffusion-uad-0123abcd-running", tmp_path / ".conddiffusion-uad-0123abcd-killed"
    for path, days in ((running, 1), (killed, 8)):
        path.mkdir()
        os.utime(path, 2 * (time.time() - days * 86400,))
    with output.staged(tmp_path / "next", force=False) as private:
        write_all(private, "1")
    assert running.exists() and not killed.exists()
