"""What a run will take is estimated and checked before it begins; a card that fails is replaced by the CPU, aloud."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from conddiffusion_uad.app import cli, computer
from conddiffusion_uad.app import detection_job as jobs
from conddiffusion_uad.app import resource_estimate as needs
from conddiffusion_uad.app.computer import Memory
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.detection import pipeline
from conddiffusion_uad.detection.recorder import Recorder
from conddiffusion_uad.method.anomaly_map.mahalanobis import Mahalanobis
from conddiffusion_uad.method.restore.one_step import OneStep
from conddiffusion_uad.method.restore.patched import Patched
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.events import STAGES, Event, Quiet
from conddiffusion_uad.protocol.failures import EXIT_DEVICE, EXIT_DONE, EXIT_OUTPUT, DeviceFailure, OutputFailure
from conddiffusion_uad.protocol.job import DetectionJob


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets how much memory and disk the computer seems to have, in MB."""

    def setting(total: float = 1e6, available: float = 1e6, disk: float = 1e6) -> None:
        monkeypatch.setattr(computer, "memory", lambda: Memory(total, available))
        monkeypatch.setattr(computer, "free_disk_mb", lambda folder: disk)

    return setting


NEEDS = needs.Needs(memory_mb=2000.0, disk_mb=50.0, seconds=None)


def test_a_computer_that_has_enough_says_nothing(short: Any) -> None:
    short(total=4000, available=2500, disk=100)
    notes = Recorder(Quiet())
    NEEDS.require(Path("out"), notes)
    assert notes.warnings == []


def test_scarce_memory_is_a_warning(short: Any) -> None:
    short(total=4000, available=1500)
    notes = Recorder(Quiet())
    NEEDS.require(Path("out"), notes)
    (warning,) = notes.warnings
    assert warning["code"] == "memory_scarce" and "2.0 GB" in warning["message"] and "1.5 GB" in warning["message"]


def test_what_the_computer_does_not_have_at_all_is_refused(short: Any) -> None:
    short(total=1800, available=1500)
    with pytest.raises(DeviceFailure) as caught:
        NEEDS.require(Path("out"), Quiet())
    assert caught.value.code == "out_of_memory" and "1.8 GB" in caught.value.message


def test_too_little_room_on_the_disk_is_refused(short: Any) -> None:
    short(disk=49)
    with pytest.raises(OutputFailure) as caught:
        NEEDS.require(Path("out"), Quiet())
    assert caught.value.code == "disk_full" and "49 MB" in caught.value.message


def test_a_system_that_tells_nothing_is_believed_to_have_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computer, "memory", lambda: None)
    monkeypatch.setattr(computer, "free_disk_mb", lambda folder: None)
    NEEDS.require(Path("out"), Quiet())


class Slow:
    """A map that takes long to compute."""

    def __call__(self, restored: Restored, model: Any) -> np.ndarray:
        begin = time.thread_time()
        while time.thread_time() < begin + 0.03:
            pass
        return restored.volume


def test_larger_scans_batches_and_more_levels_need_more(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "_one_slice", lambda bundle, levels: 0.01 * len(levels))
    bundle = bundles.load(str(small_bundle))
    small, large = sitk.Image([100, 100, 100], sitk.sitkUInt8), sitk.Image([200, 200, 100], sitk.sitkUInt8)
    one, other = (needs.estimate(scan, bundle, levels=None, batch=16) for scan in (small, large))
    assert other.memory_mb > one.memory_mb and other.disk_mb == 4 * one.disk_mb
    assert needs.estimate(small, bundle, levels=None, batch=32).memory_mb > one.memory_mb
    assert one.seconds is not None and other.seconds is not None and set(one.seconds) == set(STAGES)
    assert other.seconds["findings"] == pytest.approx(4 * one.seconds["findings"])
    assert one.seconds["report"] < other.seconds["report"] < 4 * one.seconds["report"]
    assert other.seconds["load"] == one.seconds["load"]
    many = needs.estimate(small, bundle, levels=list(range(1, 1001)), batch=16).seconds
    assert many is not None and many["reconstruct"] > 20 * one.seconds["reconstruct"]


def test_a_slice_of_many_passes_is_not_reckoned_with_their_square(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "_one_slice", lambda bundle, levels: 8.0 * len(levels))
    bundle, scan = bundles.load(str(small_bundle)), sitk.Image([100, 100, 100], sitk.sitkUInt8)
    columns, rows, slices = bundle.config.grid.size
    squares = Patched((250, 500), size=rows // 2, stride=rows // 2)
    assert squares.passes(rows, columns) > 2
    config = replace(bundle.config, method=replace(bundle.method, restore=squares))
    seconds = needs.estimate(scan, replace(bundle, config=config), levels=None, batch=16).seconds
    assert seconds is not None and seconds["reconstruct"] == pytest.approx(8.0 * 2 * slices)  # two timesteps


def test_a_map_that_needs_several_levels_is_not_tried_with_one(small_bundle: Path) -> None:
    bundle, scan = bundles.load(str(small_bundle)), sitk.Image([100, 100, 100], sitk.sitkUInt8)
    maps = {contrast: Mahalanobis() for contrast in bundle.config.contrasts}
    method = replace(bundle.method, restore=OneStep((250, 500)), anomaly_map=maps)
    seconds = needs.estimate(
        scan, replace(bundle, config=replace(bundle.config, method=method)), levels=None, batch=16
    ).seconds
    assert seconds is not None and seconds["reconstruct"] > 0


def test_a_map_that_takes_long_counts_and_an_uncertainty_takes_one_more_for_each_sample(small_bundle: Path) -> None:
    bundle, scan = bundles.load(str(small_bundle)), sitk.Image([100, 100, 100], sitk.sitkUInt8)
    maps = {contrast: Slow() for contrast in bundle.config.contrasts}
    slow = replace(bundle, config=replace(bundle.config, method=replace(bundle.method, anomaly_map=maps)))
    one, more = (needs.estimate(scan, slow, levels=None, batch=16, uncertainty=asked).seconds for asked in (0, 1))
    assert one is not None and more is not None
    slices, samples = bundle.config.grid.size[2], bundle.method.restore.samples
    assert one["score"] > 0.03 * slices and more["score"] == pytest.approx(one["score"] * (1 + samples))


def test_a_slice_is_tried_with_a_few_levels_and_what_other_programs_take_does_not_count(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[int, ...]] = []

    def restore(*_: Any, timesteps: Any) -> None:
        tried.append(tuple(timesteps))
        time.sleep(0.1)  # as when the system lets another program compute

    monkeypatch.setattr(needs, "restore", restore)
    bundle, scan = bundles.load(str(small_bundle)), sitk.Image([100, 100, 100], sitk.sitkUInt8)
    seconds = needs.estimate(scan, bundle, levels=range(1, 1001), batch=16).seconds
    assert seconds is not None and seconds["reconstruct"] < 0.02 / 3 * 1000 * bundle.config.grid.size[2]
    assert max(map(len, tried)) == needs.FEW


def test_a_full_disk_is_noticed_before_the_run(
    short: Any, scan_file: Path, small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short(disk=0)
    arguments = ["detect", str(scan_file), "--output", str(tmp_path / "out"), "--bundle", str(small_bundle), "--json"]
    assert cli.main(arguments) == EXIT_OUTPUT
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["code"] == "disk_full" and events[-2].get("name") != "orient"
    assert list(tmp_path.iterdir()) == []


class Card:
    """A computer with a graphics card (torch's "meta" stands in for it) that fails during the detection."""

    def __init__(self, error: Exception, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loaded = bundles.load(str(bundle))
        self._detect = pipeline.detect
        self._error = error
        monkeypatch.setattr(pipeline, "detect", self.detect)

    def get(self, name: str, device: str, precision: str) -> bundles.Bundle:
        return bundles.load(str(self._loaded.path)).to("cpu" if device == "cpu" else "meta", precision)

    def detect(self, *arguments: Any, device: torch.device, **options: Any) -> pipeline.Detection:
        if device.type == "meta":
            raise self._error
        return self._detect(*arguments, device=device, **options)


FAILURES = [
    (RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be"), "device_lost"),
    (RuntimeError("CUDA error: no kernel image is available for execution"), "device_unsupported"),
    (torch.OutOfMemoryError("CUDA out of memory."), "out_of_memory"),
]


@pytest.mark.parametrize(("error", "code"), FAILURES)
def test_a_card_that_fails_is_replaced_by_the_cpu_when_nobody_asked_for_it(
    error: Exception,
    code: str,
    scan_file: Path,
    small_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[Event] = []
    models: Any = Card(error, small_bundle, monkeypatch)
    job = DetectionJob(inputs=(str(scan_file),), output=str(tmp_path / "out"))
    assert jobs.run(job, events.append, models=models) == EXIT_DONE
    (warning,) = (event for event in events if event["event"] == "warning" and event["code"] == "device_fallback")
    assert "CPU" in warning["message"]
    report = json.loads((tmp_path / "out" / result_files.REPORT).read_text())
    assert report["device"] == "cpu" and "device_fallback" in [entry["code"] for entry in report["warnings"]]
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions)

    events.clear()
    job = DetectionJob(inputs=(str(scan_file),), output=str(tmp_path / "other"), device="cuda")
    assert jobs.run(job, events.append, models=models) == EXIT_DEVICE
    assert events[-1]["code"] == code and not (tmp_path / "other").exists()
