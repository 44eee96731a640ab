"""What is imported and loaded when: counted, because seconds depend on the computer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "monai", "numpy", "scipy", "SimpleITK", "skimage", "nibabel", "deepbet", "PIL", "safetensors")
NEEDLESS = ("monai", "einops", "scipy.stats", "pandas", "matplotlib", "sklearn")  # each takes 0.3 to 2 s
LIBRARIES = f"sorted(set(sys.modules) & set({HEAVY!r}))"


def run(code: str, environment: dict[str, str]) -> dict:
    """What a new process that runs the code prints as its last line."""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_help_imports_nothing_that_takes_time(environment: dict[str, str]) -> None:
    code = f"""
import contextlib, io, json, sys
from conddiffusion_uad.app import cli
for arguments in (["--help"], ["detect", "--help"], ["benchmark", "--help"], ["train", "fit", "--help"]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        cli.main(arguments)
print(json.dumps({{"imported": {LIBRARIES}, "own": sum(name.startswith("conddiffusion_uad") for name in sys.modules)}}))
"""
    found = run(code, environment)
    assert found["imported"] == []
    assert 0 < found["own"] < 40


@pytest.fixture(scope="module")
def two_jobs(
    environment: dict[str, str], small_bundle: Path, scan_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict:
    """What two equal jobs in one new process were seen to do."""
    output = tmp_path_factory.mktemp("jobs") / "out"
    code = f"""
import json, sys
from dataclasses import replace
from conddiffusion_uad.app.detection_job import Models, run
from conddiffusion_uad.protocol.job import DetectionJob
seen, loaded = [], []
def emit(event):
    seen.append((event["event"], event.get("name"), {LIBRARIES}))
models = Models()
job = DetectionJob(inputs=({str(scan_file)!r},), output={str(output)!r}, bundle={str(small_bundle)!r})
codes = [run(job, emit, models=models)]
before = set(sys.modules)
from conddiffusion_uad.bundle import bundle
load, accelerated = bundle.load, bundle.accelerated
bundle.load = lambda *arguments: loaded.append("bundle") or load(*arguments)
bundle.accelerated = lambda *arguments: loaded.append("network") or accelerated(*arguments)
codes.append(run(replace(job, force=True), lambda event: None, models=models))
stages = dict((name, libraries) for kind, name, libraries in seen if kind == "stage")
imported = sorted(set(sys.modules) - before)
found = {{"codes": codes, "first": seen[0], "load": stages["load"], "again": imported + loaded}}
print(json.dumps({{**found, "needless": sorted(before & set({NEEDLESS!r})), "modules": len(before)}}))
"""
    return run(code, environment)


def test_the_first_event_comes_before_any_library(two_jobs: dict) -> None:
    assert two_jobs["codes"] == [0, 0]
    assert two_jobs["first"] == ["stage", "read", []]
    assert not {"torch", "monai"} & set(two_jobs["load"])  # an unreadable scan is refused without them


def test_the_second_job_imports_and_loads_nothing(two_jobs: dict) -> None:
    assert two_jobs["again"] == []


def test_a_detection_imports_no_library_for_a_single_function_of_it(two_jobs: dict) -> None:
    assert two_jobs["needless"] == []
    assert two_jobs["modules"] < 2100  # it was 3,900 with all of MONAI
