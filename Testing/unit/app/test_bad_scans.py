"""Every file that is no scan: one clear sentence, a hint, the contract's code, and nothing left behind."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from refused_detections import brain, nameless, refused, save, zeros

from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT

Maker = Callable[[Path], Path]


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


@pytest.mark.parametrize(("make", "code"), FILES, ids=[make.__name__ for make, _ in FILES])
def test_a_scan_that_cannot_be_used(make: Maker, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert refused(capsys, path, "--output", tmp_path / "out") == (EXIT_BAD_INPUT, code)
    assert sorted(tmp_path.rglob("*")) == before
