"""Mutated files, jobs, reports and bundles: each is used or refused in one sentence, quickly, and nothing leaks.

A few examples each, always the same; `--hypothesis-profile=thorough` takes 1,000 of each, and 200 runs in one worker.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import SimpleITK as sitk
from fuzzing import SAME_FOLDER, THOROUGH, brain, json_values, sentences
from hypothesis import assume, given
from hypothesis import strategies as st

from conddiffusion_uad.app import repetition
from conddiffusion_uad.app import worker as workers
from conddiffusion_uad.app.detection_job import run
from conddiffusion_uad.app.worker import Worker
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.protocol.events import Event, encode
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, EXIT_OUTPUT, BadInput, BundleFailure
from conddiffusion_uad.protocol.job import DetectionJob

JOB = {"job": "detect", "inputs": ["/nowhere/scan.nii"], "output": "/nowhere/out", "id": 1}
NAMES = [*DetectionJob.__dataclass_fields__, "job", "id", "more"]


@SAME_FOLDER
@given(changes=st.dictionaries(st.sampled_from(NAMES), json_values(), max_size=4), cut=st.integers(0, 60))
def test_jobs_that_a_worker_is_given(changes: dict[str, Any], cut: int, tmp_path: Path) -> None:
    line = json.dumps({**JOB, **changes}).encode()
    events: list[Event] = []
    worker = Worker(events.append)
    worker.take([line[: len(line) - cut] if cut > 50 else line, b'{"job": "quit"}'])
    assert len(events) <= 1
    for event in events:
        assert event["event"] == "error" and event["code"] in ("bad_line", "bad_option")
        assert len(event["message"]) < 500 and event["message"].isprintable()
    jobs: list[DetectionJob] = []
    with mock.patch.object(workers, "run", lambda job, *_: jobs.append(job)):
        while not worker._waiting.empty():
            work, _, cancelled = worker._waiting.get()
            work(events.append, cancelled)
    for job in jobs:
        assume(not any(os.path.exists(path) for path in job.inputs))
        told: list[Event] = []
        elsewhere = DetectionJob.from_json({**job.to_json(), "output": str(tmp_path / "out")})
        assert run(elsewhere, told.append) in (EXIT_BAD_INPUT, EXIT_OUTPUT)
        assert {event["code"] for event in told if event["event"] == "error"} <= {"file_not_found", "cannot_write"}
        for event in told:
            encode(event).encode("ascii")
    assert os.listdir(tmp_path) == []


@SAME_FOLDER
@given(output=st.one_of(st.text(min_size=1, max_size=300), st.sampled_from(["\0", "a/" * 3000, "x" * 300, "\ud800"])))
def test_output_folders_that_cannot_be(output: str, tmp_path: Path) -> None:
    told: list[Event] = []
    (tmp_path / "file").touch()
    try:
        job = DetectionJob(inputs=(str(tmp_path / "missing.nii"),), output=str(tmp_path / "file") + "/" + output)
    except BadInput as failure:
        sentences(failure)
        return
    assert run(job, told.append) in (EXIT_BAD_INPUT, EXIT_OUTPUT)
    assert told[-1]["code"] in ("file_not_found", "cannot_write")
    assert os.listdir(tmp_path) == ["file"]


@given(st.binary(max_size=200))
def test_lines_that_are_no_jobs(line: bytes) -> None:
    events: list[Event] = []
    Worker(events.append).take([line])
    assert all(event["event"] == "error" and event["message"].isprintable() for event in events)


REPORT: dict[str, Any] = {
    "format": 1,
    "software": {"torch": "2"},
    "computer": {"threads": 1},
    "device": "cpu",
    "bundle": {"name": "residual", "sha256": "0" * 64},
    "parameters": {
        "contrast": "T1",
        "levels": [100],
        "healthy_flagged": 0.01,
        "min_volume_ml": 0.05,
        "skull": "auto",
        "seed": 0,
        "batch": 16,
    },
    "input": {"size": [16, 14, 12], "spacing": [5, 5, 5], "origin": [0, 0, 0], "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1]}
    | {"sha256": "0" * 64},
    "files": {},
}


@st.composite
def changed(draw: Callable[..., Any], original: dict[str, Any]) -> dict[str, Any]:
    """A table of tables of which some values are others."""
    result = deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        inner = result
        name = draw(st.sampled_from(sorted(inner)))
        while isinstance(inner[name], dict) and inner[name] and draw(st.booleans()):
            inner = inner[name]
            name = draw(st.sampled_from(sorted(inner)))
        inner[name] = draw(json_values())
    return result


@SAME_FOLDER
@given(report=changed(REPORT))
def test_reports_to_repeat(report: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(report))
    try:
        read = repetition.read(str(tmp_path / "report.json"))
        assert read.job("scan.nii", "out").seed == report["parameters"]["seed"]
        read.require_scan(sitk.Cast(brain(), sitk.sitkFloat32))
    except BadInput as failure:
        sentences(failure)


@pytest.fixture(scope="module")
def fuzzed_bundle(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose configuration may be changed."""
    return shutil.copytree(small_bundle, tmp_path_factory.mktemp("fuzzed") / "bundle")


@given(data=st.data())
def test_bundle_configurations(fuzzed_bundle: Path, small_bundle: Path, data: st.DataObject) -> None:
    original = json.loads((small_bundle / bundles.METADATA).read_text())
    section = data.draw(changed(original["conddiffusion_uad"]))
    original.pop("sha256", None)  # else it would only be refused as altered
    (fuzzed_bundle / bundles.METADATA).write_text(json.dumps({**original, "conddiffusion_uad": section}))
    try:
        assert bundles.load(str(fuzzed_bundle)).config.timesteps == tuple(section["restore"]["timesteps"])
    except BundleFailure as failure:
        sentences(failure)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_many_runs_in_one_worker_leak_nothing(
    environment: dict[str, str], scan_file: Path, small_bundle: Path, tmp_path: Path
) -> None:
    runs, settled = (200, 20) if THOROUGH else (4, 2)
    (tmp_path / "temporary").mkdir()
    bad = tmp_path / "bad_T1.nii.gz"
    bad.write_bytes(scan_file.read_bytes()[:2000])
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "conddiffusion_uad", "worker"]
    variables = {**environment, "TMPDIR": str(tmp_path / "temporary")}
    with subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        held = []
        for number in range(runs):
            for scan, end in ((bad, "error"), (scan_file, "done")):
                job = {
                    "job": "detect",
                    "inputs": [str(scan)],
                    "output": str(tmp_path / "out"),
                    "bundle": str(small_bundle),
                }
                worker.stdin.write(encode({**job, "force": True, "seed": number}).encode() + b"\n")
                worker.stdin.flush()
                for line in worker.stdout:
                    if json.loads(line)["event"] in ("done", "error"):
                        break
                assert json.loads(line)["event"] == end, line
            process = Path(f"/proc/{worker.pid}")
            memory = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
            held.append((len(os.listdir(process / "fd")), len(os.listdir(process / "task")), memory))
            assert sorted(os.listdir(tmp_path)) == ["bad_T1.nii.gz", "out", "temporary"]
            assert os.listdir(tmp_path / "temporary") == []
        worker.stdin.close()
    files, threads, memory = zip(*held, strict=True)
    assert max(files[settled:]) <= files[settled - 1] and max(threads[settled:]) <= threads[settled - 1], held
    assert max(memory[settled:]) - memory[settled - 1] < 40, memory
