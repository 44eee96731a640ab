"""Every bad input: one clear sentence, a hint, the contract's code, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from refused_detections import nameless, refused, zeros

from conddiffusion_uad.app import cli
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, EXIT_BUNDLE, EXIT_DEVICE, EXIT_OUTPUT


@pytest.mark.parametrize(
    "options",
    [
        ["--levels", "250;500"],
        ["--levels", "0"],
        ["--healthy-flagged", "1"],
        ["--healthy-flagged", "some"],
        ["--min-volume-ml", "-1"],
        ["--skull", "maybe"],
        ["--seed", "-1"],
        ["--contrast", "PD"],
        ["--device", "gpu"],
        ["--colour", "red"],
    ],
    ids=" ".join,
)
def test_a_wrong_option(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [nameless(tmp_path), "--output", tmp_path / "out", *options]
    assert refused(capsys, *arguments) == (EXIT_BAD_INPUT, "bad_option")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["-scan.nii.gz", "--output", "out"], "-scan.nii.gz"),
        (["scan.nii.gz", "-other.nii.gz", "--output", "out"], "-other.nii.gz"),
        (["scan.nii.gz", "--output", "-out.d"], "-out.d"),
        (["-here", "--output", "out"], "-here"),
        (["--here", "--output", "out"], "--here"),
    ],
    ids=" ".join,
)
def test_a_name_that_begins_with_a_dash(
    arguments: list[str],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for there in ("-here", "--here"):
        Path(there).touch()
    assert cli.main(["detect", *arguments]) == EXIT_BAD_INPUT
    assert f"is written {Path('.')}{os.sep}{name}." in capsys.readouterr().err
    nameless(tmp_path).rename(tmp_path / "-scan.nii.gz")
    assert cli.main(["detect", f".{os.sep}-scan.nii.gz", "--output", "out"]) == EXIT_BAD_INPUT
    assert "contrast" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["-v"], ["--seed", "-3.5", "--output"], ["--dir=./x.y"]], ids=" ".join)
def test_an_option_that_does_not_exist_is_no_name(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["detect", "scan.nii.gz", *options]) == EXIT_BAD_INPUT
    assert "begins with a dash" not in capsys.readouterr().err


def test_bad_input_is_refused_before_torch_is_imported(tmp_path: Path, environment: dict[str, str]) -> None:
    program = (
        "import sys; from conddiffusion_uad.app.cli import main; code = main(sys.argv[1:]);"
        "assert not {'torch', 'monai'} & set(sys.modules); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, "detect", str(zeros(tmp_path)), "--output", str(tmp_path / "out")]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == EXIT_BAD_INPUT
    assert process.stdout == "" and "Error: Every voxel of zeros_T1.nii.gz is 0.\n" in process.stderr


def with_damage(bundle: Path, folder: Path, damage: Callable[[Path], object]) -> Path:
    copy = shutil.copytree(bundle, folder / "damaged")
    damage(copy)
    return copy


def cut_weights(bundle: Path) -> None:
    weights = bundle / "models" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def pickle_weights(bundle: Path) -> None:
    (bundle / "models" / "model.safetensors").rename(bundle / "models" / "model.pt")


def alter_calibration(bundle: Path) -> None:
    file = bundle / "configs" / "calibration.json"
    file.write_text(file.read_text().replace("0.4", "0.41", 1))


def come_from_the_future(bundle: Path) -> None:
    file = bundle / "configs" / "metadata.json"
    values = json.loads(file.read_text())
    values["conddiffusion_uad"]["format"] = 99
    file.write_text(json.dumps(values))


def forget_metadata(bundle: Path) -> None:
    (bundle / "configs" / "metadata.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (cut_weights, "bundle_damaged"),
        (pickle_weights, "bundle_pickled"),
        (alter_calibration, "bundle_damaged"),
        (come_from_the_future, "bundle_too_new"),
        (forget_metadata, "bundle_damaged"),
        (shutil.rmtree, "bundle_not_found"),
    ],
)
def test_a_bundle_that_cannot_be_used(
    damage: Callable[[Path], object],
    code: str,
    scan_file: Path,
    small_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = with_damage(small_bundle, tmp_path, damage)
    arguments = [scan_file, "--output", tmp_path / "out", "--bundle", bundle]
    assert refused(capsys, *arguments) == (EXIT_BUNDLE, code)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("contrast", "expected"),
    [
        ("FLAIR", (EXIT_BAD_INPUT, "contrast_not_in_bundle")),
        ("T2", (EXIT_BUNDLE, "bundle_not_calibrated")),
    ],
)
def test_a_contrast_that_the_bundle_does_not_know(
    contrast: str,
    expected: tuple[int, str],
    scan_file: Path,
    small_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [scan_file, "--output", tmp_path / "out", "--bundle", small_bundle, "--contrast", contrast]
    assert refused(capsys, *arguments) == expected


def test_a_device_that_is_not_there(
    scan_file: Path, small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [scan_file, "--output", tmp_path / "out", "--bundle", small_bundle, "--device", "cuda:99"]
    assert refused(capsys, *arguments) == (EXIT_DEVICE, "no_such_device")


def test_an_output_folder_that_holds_something(
    scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert refused(capsys, scan_file, "--output", tmp_path) == (EXIT_OUTPUT, "output_exists")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_output_folder_under_a_file(scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert refused(capsys, scan_file, "--output", tmp_path / "file" / "out") == (EXIT_OUTPUT, "cannot_write")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_an_output_folder_that_nobody_may_write_to(scan_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, scan_file, "--output", "/proc/out") == (EXIT_OUTPUT, "cannot_write")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("room", [100, 20_000], ids=["none", "some"])
def test_an_output_folder_that_is_full(
    room: int, scan_file: Path, small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        told_now = refused(capsys, scan_file, "--output", tmp_path / "out", "--bundle", small_bundle)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert told_now == (EXIT_OUTPUT, "disk_full")
    assert list(tmp_path.iterdir()) == []
