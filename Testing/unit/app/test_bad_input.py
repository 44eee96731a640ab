"""Every bad input: one clear sentence, a hint, the contract's code, and nothing left behind."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.app import cli
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, EXIT_BUNDLE, EXIT_DEVICE, EXIT_OUTPUT

Maker = Callable[[Path], Path]


def brain() -> np.ndarray:
    """Values that would pass as a scan, (z, y, x)."""
    z, y, x = np.indices((24, 28, 26)) - 13
    noise = np.random.default_rng(0).random(z.shape)
    return ((z**2 + y**2 + x**2 < 120) * (100 + 50 * noise)).astype(np.float32)


def save(values: np.ndarray, path: Path, vector: bool = False) -> Path:
    image = sitk.GetImageFromArray(values, isVector=vector)
    image.SetSpacing([4.0] * image.GetDimension())
    sitk.WriteImage(image, str(path))
    return path


def missing(folder: Path) -> Path:
    return folder / "missing_T1.nii.gz"


def text(folder: Path) -> Path:
    (folder / "text_T1.nii").write_text("This is not an image.")
    return folder / "text_T1.nii"


def empty_folder(folder: Path) -> Path:
    (folder / "series_T1").mkdir()
    return folder / "series_T1"


def truncated(folder: Path) -> Path:
    path = save(brain(), folder / "cut_T1.nii.gz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def truncated_plain(folder: Path) -> Path:
    path = save(brain(), folder / "cut_T1.nii")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def flat(folder: Path) -> Path:
    return save(brain()[12], folder / "flat_T1.nii.gz")


def one_slice(folder: Path) -> Path:
    return save(brain()[12:13], folder / "slice_T1.nii.gz")


def four_dimensional(folder: Path) -> Path:
    return save(np.stack([brain()] * 3), folder / "series_T1.nii.gz")


def colored(folder: Path) -> Path:
    return save(np.repeat(brain()[..., None], 3, axis=-1).astype(np.uint8), folder / "color_T1.nrrd", vector=True)


def labels(folder: Path) -> Path:
    return save((brain() > 0).astype(np.uint8) * 2, folder / "labels_T1.nii.gz")


def zeros(folder: Path) -> Path:
    return save(np.zeros_like(brain()), folder / "zeros_T1.nii.gz")


def constant(folder: Path) -> Path:
    return save(np.full_like(brain(), 7.5), folder / "constant_T1.nii.gz")


def not_a_number(folder: Path) -> Path:
    values = brain()
    values[3, 4, 5] = np.nan
    return save(values, folder / "nan_T1.nii.gz")


def infinite(folder: Path) -> Path:
    values = brain()
    values[3, 4, 5] = np.inf
    return save(values, folder / "infinite_T1.nii.gz")


def too_bright(folder: Path) -> Path:
    return save(brain() * np.float32(1e36), folder / "bright_T1.nii.gz")


def too_faint(folder: Path) -> Path:
    return save(brain() * np.float32(1e-40), folder / "faint_T1.nrrd")


def tiny(folder: Path) -> Path:
    return save(brain()[12:15, 12:15, 12:15], folder / "tiny_T1.nii.gz")


def no_direction(folder: Path) -> Path:
    """A NIfTI file whose affine has two equal columns."""
    path = save(brain(), folder / "direction_T1.nii")
    data = bytearray(path.read_bytes())
    header = np.frombuffer(data, dtype="<f4", count=12, offset=280).reshape(3, 4).copy()
    header[:, 1] = header[:, 0]
    data[280:328] = header.astype("<f4").tobytes()
    data[252:256] = np.array([0, 1], "<i2").tobytes()  # the affine counts, not the quaternion
    path.write_bytes(gzip.compress(bytes(data)))
    return path.rename(folder / "direction_T1.nii.gz")


def pipe(folder: Path) -> Path:
    """Whoever opens it waits until somebody writes into it."""
    os.mkfifo(folder / "pipe_T1.nii")
    return folder / "pipe_T1.nii"


def pipe_in_a_series(folder: Path) -> Path:
    os.mkfifo(empty_folder(folder) / "slice.dcm")
    return folder / "series_T1"


def device(folder: Path) -> Path:
    """It never ends."""
    (folder / "device_T1.nii.gz").symlink_to("/dev/zero")
    return folder / "device_T1.nii.gz"


def circle(folder: Path) -> Path:
    (folder / "circle_T1.nii").symlink_to(folder / "circle_T1.nii")
    return folder / "circle_T1.nii"


def long_name(folder: Path) -> Path:
    return folder / f"{'x' * 300}_T1.nii"


def nameless(folder: Path) -> Path:
    return save(brain(), folder / "brain.nii.gz")


FILES: list[tuple[Maker, str]] = [
    (missing, "file_not_found"),
    (text, "not_an_image"),
    (empty_folder, "not_an_image"),
    (truncated, "truncated"),
    (truncated_plain, "truncated"),
    (flat, "not_3d"),
    (one_slice, "not_3d"),
    (four_dimensional, "not_3d"),
    (colored, "is_rgb"),
    (labels, "label_map"),
    (zeros, "all_zero"),
    (constant, "constant"),
    (not_a_number, "not_finite"),
    (infinite, "not_finite"),
    (too_bright, "bad_intensities"),
    (too_faint, "bad_intensities"),
    (tiny, "too_small"),
    (no_direction, "bad_direction"),
    (nameless, "contrast_unknown"),
    (long_name, "file_not_found"),
]
if os.name == "posix":
    FILES += [
        (pipe, "not_an_image"),
        (pipe_in_a_series, "not_an_image"),
        (device, "not_an_image"),
        (circle, "file_not_found"),
    ]


def told(output: str) -> dict[str, str]:
    """The one error that was told, as a person should be able to read it."""
    events = [json.loads(line) for line in output.splitlines()]
    (error,) = (event for event in events if event["event"] == "error")
    assert events[-1] == error
    for sentence in (error["message"], error["hint"]):
        assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 600
    return error


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Run `detect` in this process; the exit code and the error's code."""
    code = cli.main(["detect", *map(str, arguments), "--json"])
    return code, told(capsys.readouterr().out)["code"]


@pytest.mark.parametrize(("make", "code"), FILES, ids=[make.__name__ for make, _ in FILES])
def test_a_scan_that_cannot_be_used(make: Maker, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert refused(capsys, path, "--output", tmp_path / "out") == (EXIT_BAD_INPUT, code)
    assert sorted(tmp_path.rglob("*")) == before


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
