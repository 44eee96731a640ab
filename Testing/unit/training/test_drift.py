"""The drift that fits shifted data is found, and a bundle keeps it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conddiffusion_uad.app.cli import main
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.method.adapt.drift import Drift
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, EXIT_OUTPUT
from conddiffusion_uad.training.drift import SHIFTS, find_shift, histogram_difference


def scans(brighter: float, gain: float = 2.0) -> list[tuple[np.ndarray, float, float]]:
    """Healthy brains, how much brighter they are than a model thinks, and how far a shift moves its answers."""
    rng = np.random.default_rng(0)
    return [(rng.normal(0.5, 0.08, (4, 24, 24)).astype(np.float32), brighter, gain) for _ in range(3)]


def restored(of_scans: list[tuple[np.ndarray, float, float]], shift: float) -> Iterator[Restored]:
    for volume, brighter, gain in of_scans:
        sample = volume - brighter + gain * shift
        yield Restored(Volume(volume, np.ones(volume.shape, bool)), "T1", sample[None].astype(np.float32), 16)


@pytest.mark.parametrize(("brighter", "expected"), [(0.24, 0.12), (-0.1, -0.05), (0.0, 0.0), (0.5, 0.2)])
def test_the_shift_that_undoes_the_difference_is_found(brighter: float, expected: float) -> None:
    found = find_shift(lambda shift: restored(scans(brighter), shift), SHIFTS)
    assert found.shift == pytest.approx(expected) and found.scans == 3
    assert found.difference <= found.without
    if 0 < abs(brighter) < 0.4:  # what the grid reaches
        assert found.difference < 0.02 < found.without
    assert len(SHIFTS) == 41 and 0.0 in SHIFTS


def test_histograms_differ_by_the_share_of_voxels_that_are_elsewhere() -> None:
    volume = np.full((1, 2, 8), 0.2, np.float32)
    sample = volume.copy()
    sample[0, 0, :4] = 0.9  # 4 of 16
    mask = np.ones(volume.shape, bool)
    assert histogram_difference(Restored(Volume(volume, mask), "T1", sample[None], 16)) == pytest.approx(0.25)
    mask[0, 0] = False
    assert histogram_difference(Restored(Volume(volume, mask), "T1", sample[None], 16)) == 0


def drift(bundle: Path, data: Path, output: Path, *more: str) -> int:
    common = ["--data", str(data), "--output", str(output), "--device", "cpu", "--precision", "fp32"]
    return main(["train", "drift", str(bundle), *common, *more])


def test_a_copy_of_the_bundle_drifts_and_the_bundle_does_not(
    small_bundle: Path, scan_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("conddiffusion_uad.training.drift.SHIFTS", (-0.1, 0.0, 0.1))
    monkeypatch.setattr("conddiffusion_uad.training.drift.SLICES", 3)
    local = tmp_path / "local"
    local.mkdir()
    shutil.copy(scan_file, local)
    before = bundles.load(str(small_bundle))
    assert drift(small_bundle, local, tmp_path / "drifted") == 0
    after = bundles.load(str(tmp_path / "drifted"))
    assert isinstance(after.method.adapt, Drift) and after.method.adapt.shift in (-0.1, 0.0, 0.1)
    told = json.loads((tmp_path / "drifted" / bundles.METADATA).read_text())
    assert told["drift"]["shift"] == after.method.adapt.shift and told["sha256"] == after.sha256 != before.sha256
    assert after.calibration.keys() == before.calibration.keys()
    assert bundles.load(str(small_bundle)).sha256 == before.sha256
    assert "1 scans are few" in capsys.readouterr().err
    assert drift(small_bundle, local, tmp_path / "drifted") == EXIT_OUTPUT
    assert drift(small_bundle, local, small_bundle, "--force") == EXIT_BAD_INPUT  # it would replace itself
    assert bundles.load(str(small_bundle)).sha256 == before.sha256
    (local / "broken_T1.nii.gz").write_bytes(b"no scan")
    assert drift(small_bundle, local, tmp_path / "second") == EXIT_BAD_INPUT
    assert "broken_T1.nii.gz" in capsys.readouterr().err and not (tmp_path / "second").exists()


def test_an_empty_folder_is_told(small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "local").mkdir()
    assert drift(small_bundle, tmp_path / "local", tmp_path / "drifted") == EXIT_BAD_INPUT
    assert "holds no scans" in capsys.readouterr().err
