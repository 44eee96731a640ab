"""MONAI runs a bundle by its own command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.monai_bundle import infer
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.run import score
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.protocol.failures import BundleFailure


@pytest.fixture
def prepared(small_bundle: Path, tmp_path: Path) -> Path:
    """A file with the atlas' brain on the bundle's grid."""
    grid = bundles.load(str(small_bundle)).config.grid
    brain = sitk.Resample(atlas.load().t1, grid.blank(), sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    values = sitk.GetArrayFromImage(brain)
    sitk.WriteImage(grid.with_array(values / values.max()), str(tmp_path / "prepared.nii.gz"))
    return tmp_path / "prepared.nii.gz"


def expected(small_bundle: Path, prepared: Path) -> np.ndarray:
    image = sitk.ReadImage(str(prepared), sitk.sitkFloat32)
    values = sitk.GetArrayFromImage(image)
    brain = Volume(values, values > 0, Grid.of(image))
    return score(bundles.load(str(small_bundle)).to("cpu", "fp32"), brain, "T1", seed=4).score


def test_monai_bundle_run(
    environment: dict[str, str], small_bundle: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_bundle / "configs" / "inference.json"
    output = tmp_path / "score.nii.gz"
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(config)]
    command += ["--image", str(prepared), "--contrast", "T1", "--precision", "fp32", "--seed", "4"]
    elsewhere = bundles.locate("residual")  # the folder that it is run in is another bundle's
    done = subprocess.run(
        [*command, "--output", str(output)], env=environment, cwd=elsewhere, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = sitk.ReadImage(str(output))
    assert found.GetSize() == tuple(bundles.load(str(small_bundle)).config.grid.size)
    values = sitk.GetArrayFromImage(found)
    assert values.max() > 0
    np.testing.assert_allclose(values, expected(small_bundle, prepared), atol=1e-5)


def test_a_bundle_states_what_monai_asks_for(small_bundle: Path) -> None:
    config = json.loads((small_bundle / "configs" / "inference.json").read_text())
    assert {"imports", "bundle_root", "run"} <= set(config)


def test_a_contrast_that_is_not_calibrated_is_refused(small_bundle: Path, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleFailure, match="not calibrated"):
        infer(bundles.load(str(small_bundle)), str(prepared), "T2", str(tmp_path / "score.nii.gz"))
