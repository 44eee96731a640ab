"""The report and the overview: complete, private, and true to left and right."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
from skimage.color import rgb2lab

from conddiffusion_uad.detection import colors, overview, report, sensitivity
from conddiffusion_uad.detection.findings import find
from conddiffusion_uad.detection.pipeline import Detection
from conddiffusion_uad.detection.recorder import Recorder
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
from conddiffusion_uad.protocol.failures import RESEARCH_USE
from conddiffusion_uad.protocol.job import DetectionJob

QUALITY = {
    "verdict": "warn",
    "reasons": ["quality_noise"],
    "contrast_seen": None,
    "deviation": 1.2,
    "distances": {"T2": 0.8},
    "figures": {"noise": 0.05, "ghosting": None},
}


def scan_and_detection(threshold: float = 2.0) -> tuple[sitk.Image, Detection]:
    """A gray ball of a brain with one spot on the patient's right, front and upper side; voxels 2 x 2 x 4 mm, LPS."""
    z, y, x = np.indices((20, 50, 40)) - np.array([10, 25, 20]).reshape(3, 1, 1, 1)
    brain = (2 * z) ** 2 + (y * 0.8) ** 2 + x**2 < 18**2
    spot = (2 * z - 6) ** 2 + (y + 8) ** 2 + (x + 8) ** 2 < 5**2
    arrays = (100.0 * brain + 80.0 * spot, 100.0 * brain, 4.0 * spot)
    images = [sitk.GetImageFromArray(array.astype(np.float32)) for array in arrays]
    for image in images:
        image.SetSpacing((2.0, 2.0, 4.0))
        image.SetOrigin((-40.0, -50.0, -40.0))
    segmentation, findings = find(images[2], threshold, 0.05)
    prepared: Any = SimpleNamespace(skull_method="already stripped", registration=SimpleNamespace(quality=0.95))
    assessment: Any = SimpleNamespace(to_json=lambda: QUALITY)
    mask = sitk.Cast(images[1] > 0, sitk.sitkUInt8)
    return images[0], Detection(images[2], images[1], mask, segmentation, findings, threshold, 16, prepared, assessment)


def bundle(
    expected: Mapping[str, ExpectedFindings] | None = None, *, prior: str = "", as_calibrated: bool = True
) -> Any:
    """What the report needs to know of a bundle."""
    import torch

    config = SimpleNamespace(timesteps=(250, 500))
    return SimpleNamespace(
        name="starter",
        sha256="f0" * 32,
        config=config,
        precision="bf16",
        model=torch.nn.Linear(1, 1),
        expected=expected or {},
        method=SimpleNamespace(anomaly_map={"T1": SimpleNamespace(location_prior=prior)}),
        as_calibrated=as_calibrated,
    )


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    scan, detection = scan_and_detection()
    recorder = Recorder(Quiet())
    recorder.stage("read")
    recorder.warning("registration_poor", "The brain fits poorly.", "Look at it.")
    home = "/home/Doe_Jane"
    job = DetectionJob(inputs=(f"{home}/t1.nii",), output=f"{home}/out", bundle=f"{home}/starter", seed=7)
    folder = tmp_path_factory.mktemp("results")
    for name in set(result_files.FILES) - {result_files.REPORT}:
        (folder / name).write_text(name)
    return report.build(job, "T1", scan, bundle(), detection, recorder, folder)


def test_the_report_says_what_is_needed_to_repeat_the_run(summary: dict[str, Any]) -> None:
    assert summary["statement"] == RESEARCH_USE
    assert summary["bundle"] == {"name": "starter", "sha256": "f0" * 32}
    assert summary["device"] == "cpu"
    assert summary["parameters"] == {
        "contrast": "T1",
        "levels": [250, 500],
        "healthy_flagged": None,
        "expected_findings": None,
        "bounded": False,
        "threshold": 2.0,
        "min_volume_ml": 0.05,
        "skull": "auto",
        "seed": 7,
        "uncertainty": False,
        "location_prior": False,
        "accept_any_scan": False,
        "series": None,
        "echo": None,
        "batch": 16,
        "precision": "bf16",
    }
    assert summary["computer"]["threads"] >= 1 and summary["quality"] == QUALITY and summary["repetition"] is None
    assert summary["files"]["findings.csv"] == hashlib.sha256(b"findings.csv").hexdigest()
    assert set(summary["files"]) == set(result_files.FILES) - {result_files.REPORT}
    assert {"conddiffusion_uad", "python", "torch", "SimpleITK"} <= set(summary["software"])
    assert summary["input"]["size"] == [40, 50, 20] and summary["input"]["spacing"] == [2.0, 2.0, 4.0]
    assert summary["warnings"][0]["code"] == "registration_poor"
    assert set(summary["seconds"]) == {"read", "total"}


def test_the_report_is_as_its_schema_says(summary: dict[str, Any]) -> None:
    published = json.loads(Path(report.__file__).with_name("report.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(published)
    check = jsonschema.Draft202012Validator(published)
    check.validate(json.loads(json.dumps(summary)))
    assert published["properties"]["format"]["const"] == result_files.REPORT_FORMAT
    assert set(published["required"]) == set(summary) and summary["expected_findings"] is None
    for wrong in ({"patient": "Doe"}, {"format": 2}, {"bundle": {"name": "x", "sha256": "f"}}, {"quality": [1]}):
        assert not check.is_valid({**summary, **wrong}), wrong


def test_the_report_says_how_many_findings_a_healthy_scan_has(summary: dict[str, Any]) -> None:
    known = ExpectedFindings((1.0, 2.0, 3.0), (4.0, 0.8, 0.0), 9, 0.05, (0.0, 2.5, 3.0))
    trusted = bundle({"T1": known})
    told = sensitivity.promise(trusted, "T1", 2.0, 1.0, 0.05, 2.5)
    assert told is not None
    assert (told["asked"], told["at_threshold"], told["scans"]) == (1.0, 0.8, 9)
    assert told["bound"] == pytest.approx((9 * 0.8 + 10) / 10) and told["healthy_as_large"] == pytest.approx(2 / 3)
    published = json.loads(Path(report.__file__).with_name("report.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(published).validate({**json.loads(json.dumps(summary)), "expected_findings": told})
    smaller = sensitivity.promise(trusted, "T1", 2.0, None, 0.01, 2.5)
    assert smaller is not None and smaller["at_threshold"] is None, "smaller findings were not counted"
    own = tuple(trusted.config.timesteps)
    for levels, holds in ((own, True), (own[::-1], True), (own[:1], len(own) == 1), ((own[0] + 1,), False)):
        other = sensitivity.promise(trusted, "T1", 2.0, 1.0, 0.05, 2.5, levels)
        assert other is not None
        assert all((other[told] is not None) == holds for told in ("at_threshold", "bound", "healthy_as_large"))
    assert sensitivity.promise(trusted, "T2", 2.0, None, 0.05, 2.5) is None


def test_the_report_sums_up_the_findings(summary: dict[str, Any]) -> None:
    (finding,) = summary["findings"]["list"]
    assert summary["findings"]["count"] == 1 and summary["findings"]["peak_score"] == 4.0
    assert summary["findings"]["volume_ml"] == pytest.approx(finding["volume_ml"], abs=1e-3)
    assert (finding["centre_r_mm"], finding["centre_a_mm"], finding["centre_s_mm"]) == (16.0, 16.0, 12.0)


def test_the_report_names_no_patient_and_no_place(summary: dict[str, Any]) -> None:
    text = json.dumps(summary)
    assert "Doe" not in text and "/home" not in text and "t1.nii" not in text


def test_two_reports_of_one_scan_know_each_other() -> None:
    scan, _ = scan_and_detection()
    expected = hashlib.sha256(sitk.GetArrayFromImage(scan).astype("<f4").tobytes()).hexdigest()
    assert report.voxels_digest(scan) == expected != report.voxels_digest(scan + 1)


def test_peak_memory_is_what_the_process_has_held() -> None:
    peak = report.peak_memory_mb()
    assert peak is None or 50 < peak < 64_000


@pytest.mark.parametrize("told", [b"Name:\tpython\nVmRSS:\t  90000 kB\n", b"Name:\tpyth\xc3\nVmHWM:\t  90000 kB\n"])
def test_peak_memory_is_known_whatever_the_system_tells(
    told: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "status").write_bytes(told)
    monkeypatch.setattr(report, "_STATUS", tmp_path / "status")
    peak = report.peak_memory_mb()
    assert peak is None or (peak == 92.2 if b"VmHWM" in told else peak > 50)


def test_peak_memory_is_not_that_of_the_program_that_started_the_process() -> None:
    held = np.ones(250_000_000, np.float32)
    code = "from conddiffusion_uad.detection.report import peak_memory_mb; print(peak_memory_mb())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert held.nbytes == 1e9 and (told == "None" or float(told) < 900)


def test_equal_steps_of_the_score_are_equal_steps_of_lightness() -> None:
    shown = colors.colors(np.linspace(colors.LOWEST_SHOWN, colors.HIGHEST_SHOWN, 31))
    steps = np.diff(rgb2lab(shown[None] / 255)[0, :, 0])
    assert steps.min() > 0.7 * steps.mean() and steps.max() < 1.3 * steps.mean()


def test_what_is_not_unusual_is_not_colored() -> None:
    assert colors.opacity(np.array([0.0, 1.0])).tolist() == [0.0, 0.0]
    assert colors.opacity(np.array([2.0, 9.0])).tolist() == [colors.OPAQUE, colors.OPAQUE]


@pytest.mark.parametrize("stored", ["LPS", "RAI", "SPL", "IRA"])
def test_the_patients_right_is_drawn_on_the_left_however_the_scan_is_stored(stored: str) -> None:
    scan, detection = scan_and_detection()
    images = ("heatmap", "reconstruction", "brain_mask", "segmentation")
    turned = {name: sitk.DICOMOrient(getattr(detection, name), stored) for name in images}
    sheet = overview.draw(sitk.DICOMOrient(scan, stored), replace(detection, **turned))
    np.testing.assert_array_equal(np.asarray(sheet), np.asarray(overview.draw(scan, detection)))
    colored = np.ptp(np.asarray(sheet, float), axis=2) > 60
    volumes = overview._prepare(scan, detection)
    cuts = overview._cuts_through(overview._place(volumes, detection), volumes)
    left = overview.EDGE
    for cut in cuts:
        width, height = volumes.pixels(cut)
        _, columns = np.nonzero(colored[:, left : left + width])
        rows, _ = np.nonzero(colored[-overview.FOOT - height :, left : left + width])
        assert columns.mean() < width / 2, cut  # right, right, front
        assert rows.mean() < height / 2, cut  # front, up, up
        left += width + overview.GAP


def test_a_cut_keeps_the_patients_proportions() -> None:
    scan, detection = scan_and_detection()
    volumes = overview._prepare(scan, detection)
    x, y, z = np.array(volumes.mask.GetSize()) * volumes.mask.GetSpacing()
    for cut in overview._cuts_through([0, 0, 0], volumes):
        width, height = volumes.pixels(cut)
        across, down = {"Axial": (x, y), "Coronal": (x, z), "Sagittal": (y, z)}[cut.plane]
        assert width / height == pytest.approx(across / down, rel=0.02)


def test_no_finding_is_drawn_too(tmp_path: Path) -> None:
    scan, detection = scan_and_detection(threshold=9.0)
    assert detection.findings == []
    overview.draw(scan, detection).save(tmp_path / "overview.png")
