"""What examines a scan when no bundle is named, from the command line to the results."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import conddiffusion_uad as uad
from conddiffusion_uad.app import cli, readiness
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.evaluation.settings import Settings
from conddiffusion_uad.io.resources import resources
from conddiffusion_uad.protocol.expected_findings import USUAL
from conddiffusion_uad.protocol.failures import EXIT_DONE
from conddiffusion_uad.protocol.job import USUAL_BUNDLE, DetectionJob


def shrunk(name: str, path: Path | None = None) -> np.ndarray:
    """A file of the sample data at 2 mm, to be quicker; written to a path, if there is one."""
    image = sitk.ReadImage(str(resources() / "SampleData" / f"{name}.nii.gz"), sitk.sitkFloat32)
    image = sitk.BinShrink(image, [2, 2, 2])
    if path is not None:
        sitk.WriteImage(image, str(path))
    return sitk.GetArrayFromImage(image)


@pytest.mark.parametrize(
    ("name", "options", "share"),
    [(USUAL_BUNDLE, [], 0.5), ("published-map", ["--bundle", "published-map"], 0.25)],
    ids=["none named", "published-map"],
)
def test_the_lesion_of_the_sample_is_found(
    name: str, options: list[str], share: float, start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    shrunk("synthetic_T2_brain", tmp_path / "sample_T2.nii.gz")
    process = start("detect", tmp_path / "sample_T2.nii.gz", "--output", tmp_path / "out", "--json", *options)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == EXIT_DONE, stderr.decode()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["bundle"] == {"name": name, "sha256": bundles.digest(bundles.locate(name))}
    promised = bundles.load(name).expected["T2"].threshold(USUAL)
    assert report["parameters"]["threshold"] == pytest.approx(promised)
    numbers = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "segmentation.nii.gz")))
    lesion = shrunk("synthetic_T2_brain_truth") > 0.5
    assert (numbers[lesion] == 1).mean() > share and lesion[numbers == 1].mean() > 0.5, "finding 1 is the lesion"


def test_all_that_need_not_name_a_bundle_take_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert DetectionJob(inputs=("scan.nii",), output="out").bundle == USUAL_BUNDLE
    assert Settings().bundles == (USUAL_BUNDLE,)
    for command in ("detect", "evaluate"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert f"(default: {USUAL_BUNDLE})" in " ".join(capsys.readouterr().out.split()), command
    assert uad.load_bundle().name == USUAL_BUNDLE
    assert readiness.wanted({}) == (USUAL_BUNDLE, "auto")


def test_a_bundle_is_found_by_its_former_name() -> None:
    assert bundles.locate("default") == bundles.locate("residual")
    assert bundles.load("default").name == "residual"
