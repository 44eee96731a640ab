"""The command line as a real process, and what a person sees of it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from conddiffusion_uad.app import cli
from conddiffusion_uad.app.console import Console, clock, show
from conddiffusion_uad.app.interrupts import terminate_as_interrupt
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.events import STAGES
from conddiffusion_uad.protocol.failures import (
    EXIT_BAD_INPUT,
    EXIT_BUNDLE,
    EXIT_CANCELLED,
    EXIT_DEVICE,
    EXIT_DONE,
    EXIT_UNFORESEEN,
    RESEARCH_USE,
)

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="module")
def finished(
    start: Start, scan_file: Path, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, list[dict[str, Any]], str, Path]:
    """One run of `detect --json` as a process: exit code, events, stderr, output folder."""
    folder = tmp_path_factory.mktemp("run") / "out"
    process = start("detect", scan_file, "--output", folder, "--bundle", small_bundle, "--json")
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, [json.loads(line) for line in stdout.splitlines()], stderr.decode(), folder


def test_it_ends_well_and_says_so(finished: tuple[int, list[dict[str, Any]], str, Path]) -> None:
    code, events, stderr, folder = finished
    assert code == EXIT_DONE, stderr
    assert events[-1] == {"event": "done", "report": str(folder / "report.json")}


def test_every_event_has_the_fields_of_the_contract(finished: tuple[int, list[dict[str, Any]], str, Path]) -> None:
    contract = {
        "stage": {"event", "name", "index", "total"},
        "progress": {"event", "fraction", "eta_s"},
        "estimate": {"event", "seconds"},
        "warning": {"event", "code", "message", "hint"},
        "done": {"event", "report"},
    }
    _, events, _, _ = finished
    assert all(set(event) == contract[event["event"]] for event in events)
    stages = [event for event in events if event["event"] == "stage"]
    assert [(event["name"], event["index"]) for event in stages] == [
        (name, index) for index, name in enumerate(STAGES, start=1)
    ]
    estimates = [event["seconds"] for event in events if event["event"] == "estimate"]
    assert len(estimates) == 1 and estimates[0] > 0
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions[0] == 0 and fractions[-1] == 1 and all(a <= b for a, b in pairwise(fractions))


def test_every_file_is_there_on_the_grid_of_the_scan(
    finished: tuple[int, list[dict[str, Any]], str, Path], scan_file: Path
) -> None:
    folder = finished[-1]
    assert sorted(os.listdir(folder)) == sorted(result_files.FILES) and os.listdir(folder.parent) == ["out"]
    scan = sitk.ReadImage(str(scan_file))
    pixels = {"heatmap": sitk.sitkFloat32, "reconstruction": sitk.sitkFloat32, "segmentation": sitk.sitkUInt16}
    for name in (*pixels, "brain_mask"):
        image = sitk.ReadImage(str(folder / f"{name}.nii.gz"))
        assert image.GetSize() == scan.GetSize()
        for get in ("GetOrigin", "GetSpacing", "GetDirection"):
            assert getattr(image, get)() == pytest.approx(getattr(scan, get)(), abs=1e-4)
        assert image.GetPixelID() == pixels.get(name, sitk.sitkUInt8)


def test_the_files_agree_with_each_other(finished: tuple[int, list[dict[str, Any]], str, Path]) -> None:
    folder = finished[-1]
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    with (folder / "findings.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    heatmap, mask, segmentation = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{name}.nii.gz")))
        for name in ("heatmap", "brain_mask", "segmentation")
    )
    assert rows and len(rows) == report["findings"]["count"] == segmentation.max()
    assert [{key: float(value) for key, value in row.items()} for row in rows] == report["findings"]["list"]
    assert heatmap[segmentation > 0].min() >= report["parameters"]["threshold"]
    assert not heatmap[mask == 0].any() and heatmap[mask > 0].any()
    assert set(report["seconds"]) == {*STAGES, "total"}


def test_the_same_input_gives_the_same_files_bit_for_bit(
    finished: tuple[int, list[dict[str, Any]], str, Path], scan_file: Path, small_bundle: Path, tmp_path: Path
) -> None:
    """In another process, from another path, with another file name."""
    shutil.copy(scan_file, tmp_path / "other.nii.gz")
    arguments = [tmp_path / "other.nii.gz", "--output", tmp_path / "out", "--bundle", small_bundle, "--contrast", "T1"]
    assert cli.main(["detect", *map(str, arguments)]) == EXIT_DONE
    for name in set(result_files.FILES) - {result_files.REPORT}:
        assert (tmp_path / "out" / name).read_bytes() == (finished[-1] / name).read_bytes(), name


def test_the_uncertainty_is_one_more_file(
    finished: tuple[int, list[dict[str, Any]], str, Path], scan_file: Path, small_bundle: Path, tmp_path: Path
) -> None:
    arguments = [scan_file, "--output", tmp_path / "out", "--bundle", small_bundle, "--contrast", "T1", "--uncertainty"]
    assert cli.main(["detect", *map(str, arguments), "--levels", "250"]) == EXIT_BAD_INPUT  # nothing can disagree
    assert not (tmp_path / "out").exists()
    assert cli.main(["detect", *map(str, arguments)]) == EXIT_DONE
    assert sorted(os.listdir(tmp_path / "out")) == sorted(result_files.POSSIBLE)
    for name in set(result_files.FILES) - {result_files.REPORT}:
        assert (tmp_path / "out" / name).read_bytes() == (finished[-1] / name).read_bytes(), name
    report = json.loads((tmp_path / "out" / result_files.REPORT).read_text(encoding="utf-8"))
    assert result_files.UNCERTAINTY in report["files"] and report["parameters"]["uncertainty"] is True
    image, heatmap, mask = (
        sitk.ReadImage(str(tmp_path / "out" / name))
        for name in (result_files.UNCERTAINTY, result_files.HEATMAP, result_files.BRAIN_MASK)
    )
    assert image.GetSize() == heatmap.GetSize() and image.GetPixelID() == sitk.sitkFloat32
    values, inside = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(mask) > 0
    assert not values[~inside].any() and (values[inside] >= 0).all()


def test_several_inputs_one_of_them_bad(
    scan_file: Path, small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = [tmp_path / "missing_T1.nii.gz", scan_file]
    code = cli.main(["detect", *map(str, inputs), "--output", str(tmp_path / "out"), "--bundle", str(small_bundle)])
    shown = capsys.readouterr()
    assert code == EXIT_BAD_INPUT
    assert sorted(os.listdir(tmp_path / "out")) == ["ball_T1", "scans.csv"]
    assert sorted(os.listdir(tmp_path / "out" / "ball_T1")) == sorted(result_files.FILES)
    assert f"Error: {inputs[0]}: There is no file" in shown.err and "[10/14] Reconstructing" in shown.err
    assert "volume" in shown.out and RESEARCH_USE in shown.out and str(tmp_path / "out") in shown.out


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize(("name", "stage"), [("SIGINT", "reconstruct"), ("SIGTERM", "register"), ("SIGHUP", "bias")])
def test_an_interrupt_in_the_middle_of_a_stage_leaves_nothing(
    name: str, stage: str, start: Start, scan_file: Path, small_bundle: Path, tmp_path: Path
) -> None:
    number = getattr(signal, name)
    levels = ",".join(map(str, range(1, 1001)))
    options = ["--bundle", small_bundle, "--levels", levels, "--json"]
    process = start("detect", scan_file, "--output", tmp_path / "out", *options)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("name") == stage:
            break
    assert os.listdir(tmp_path) != []
    process.send_signal(number)
    sent = time.monotonic()
    time.sleep(0.3)
    process.send_signal(number)  # by an impatient user; ignored if the process is gone already
    stdout, stderr = process.communicate(timeout=30)
    assert time.monotonic() - sent < 3
    assert process.returncode == EXIT_CANCELLED, stderr
    assert json.loads(stdout.splitlines()[-1])["code"] == "cancelled"
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows closes no terminals")
def test_a_run_that_shall_outlive_its_terminal_does() -> None:
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with terminate_as_interrupt():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, usual)


def test_when_nobody_reads_the_messages_a_failing_run_still_ends(start: Start, tmp_path: Path) -> None:
    process = start("detect", tmp_path / "missing.nii", "--output", tmp_path / "out")
    assert process.stdout is not None and process.stderr is not None
    process.stderr.close()
    process.stdout.close()
    assert process.wait(timeout=30) == EXIT_BAD_INPUT


def test_when_nobody_reads_the_events_the_run_ends_and_leaves_nothing(
    start: Start, scan_file: Path, small_bundle: Path, tmp_path: Path
) -> None:
    process = start("detect", scan_file, "--output", tmp_path / "out", "--bundle", small_bundle, "--json")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=60) == EXIT_CANCELLED
    assert b"BrokenPipe" not in process.stderr.read()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("arguments", [["--help"], ["detect", "--help"], ["--version"]], ids=" ".join)
def test_help_is_quick_and_imports_nothing_heavy(arguments: list[str], environment: dict[str, str]) -> None:
    program = (
        "import sys, atexit;"
        "atexit.register(lambda: print(sorted({'torch', 'numpy', 'SimpleITK', 'monai'} & set(sys.modules))));"
        "from conddiffusion_uad.app.cli import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, *arguments]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "conddiffusion-uad" in shown and shown.endswith("[]\n")


@pytest.mark.parametrize(
    "arguments", [[], ["detect"], ["dance"], ["detect", "a.nii"], ["bundle"], ["bundle", "show"], ["train"]], ids=str
)
def test_wrong_usage_is_a_bad_input(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == EXIT_BAD_INPUT
    assert capsys.readouterr().err.startswith("Error: ")


def test_bundles_are_listed_shown_and_verified(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bundle", "list"]) == EXIT_DONE
    assert cli.main(["bundle", "show", str(small_bundle)]) == EXIT_DONE
    assert "contrasts  T1, T2\ncalibrated T1\n" in capsys.readouterr().out
    assert cli.main(["bundle", "verify", str(small_bundle)]) == EXIT_BUNDLE
    assert "not calibrated for T2" in capsys.readouterr().err
    assert cli.main(["bundle", "verify", str(small_bundle / "none")]) == EXIT_BUNDLE


def test_the_unforeseen_is_told_in_one_sentence_and_logged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from conddiffusion_uad.io import volume

    def broken(*_: object) -> None:
        raise ZeroDivisionError("by zero\nand more")

    monkeypatch.setattr(volume, "read", broken)
    assert cli.main(["detect", "a.nii", "--output", str(tmp_path / "out"), "--json"]) == EXIT_UNFORESEEN
    shown = capsys.readouterr()
    error = json.loads(shown.out.splitlines()[-1])
    assert error["code"] == "unforeseen" and "ZeroDivisionError: by zero" in error["message"]
    assert "Traceback" in shown.err and "Traceback" not in shown.out
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")]
)
def test_too_little_memory_is_told_as_such(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from conddiffusion_uad.io import volume

    def hungry(*_: object) -> None:
        raise error

    monkeypatch.setattr(volume, "read", hungry)
    assert cli.main(["detect", "a.nii", "--output", str(tmp_path / "out"), "--json"]) == EXIT_DEVICE
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["code"] == "out_of_memory"


def test_in_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    console = Console()
    console({"event": "estimate", "seconds": 95.0})
    console({"event": "stage", "name": "bias", "index": 6, "total": 13})
    console({"event": "progress", "fraction": 0.5, "eta_s": 65.2})
    console({"event": "progress", "fraction": 0.6, "eta_s": None})
    console({"event": "warning", "code": "some", "message": "It is dark.", "hint": "Light a candle."})
    shown = capsys.readouterr().err
    assert "This takes about 1:35 min in all on this computer.\n" in shown
    assert "Correcting the bias field" in shown and "##....." in shown and " 50%  1:05 left" in shown
    assert shown.endswith("\rWarning: It is dark.\n         Light a candle.\n")


def test_a_terminal_without_umlauts_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    show("Mädchen")
    assert plain.buffer.getvalue() == b"M\\xe4dchen\n"  # type: ignore[attr-defined]


def test_time_is_told_in_minutes() -> None:
    assert [clock(0.4), clock(65.9), clock(3600)] == ["0:00", "1:05", "60:00"]
