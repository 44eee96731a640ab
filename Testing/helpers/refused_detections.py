"""Detections that must be refused: small scans, and what is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.app import cli


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


def zeros(folder: Path) -> Path:
    return save(np.zeros_like(brain()), folder / "zeros_T1.nii.gz")


def nameless(folder: Path) -> Path:
    return save(brain(), folder / "brain.nii.gz")
