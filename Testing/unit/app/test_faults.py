"""What may happen to an engine at work: nothing is left, nothing hangs, and one sentence says what it was."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk
import torch

from conddiffusion_uad.app import output, worker
from conddiffusion_uad.app.detection_job import Models, run
from conddiffusion_uad.detection import findings, overview, pipeline
from conddiffusion_uad.io import volume
from conddiffusion_uad.method.restore.one_step import OneStep
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.events import STAGES, Event, EventProgress, decode, encode
from conddiffusion_uad.protocol.failures import EXIT_BUNDLE, EXIT_CANCELLED, EXIT_DONE, EXIT_OUTPUT
from conddiffusion_uad.protocol.job import DetectionJob

Start = Callable[..., "subprocess.Popen[bytes]"]
needs_posix = pytest.mark.skipif(os.name != "posix", reason="needs signals and processes of POSIX")
LONG = list(range(1, 1001))  # noise levels that keep it reconstructing for minutes


@pytest.fixture(scope="module")
def models() -> Models:
    """Keeps the bundle warm for all tests of this file."""
    return Models()


def detect(scan: Path, bundle: Path, folder: Path, models: Models, **options: Any) -> tuple[int, list[Event]]:
    """Run a job in this process: exit code and events."""
    events: list[Event] = []
    job = DetectionJob(inputs=(str(scan),), output=str(folder), bundle=str(bundle), **options)
    return run(job, events.append, models=models), events


def test_a_run_that_is_canceled_at_any_stage_leaves_nothing(
    scan_file: Path, small_bundle: Path, tmp_path: Path, models: Models
) -> None:
    for stage in ("read", "load", "orient", "strip", "register", "reconstruct", "report"):
        cancelled = threading.Event()

        def listen(event: Event, stage: str = stage, cancelled: threading.Event = cancelled) -> None:
            if event.get("name") == stage:
                cancelled.set()

        job = DetectionJob(inputs=(str(scan_file),), output=str(tmp_path / "out"), bundle=str(small_bundle))
        assert run(job, listen, cancelled, models) == EXIT_CANCELLED, stage
        assert os.listdir(tmp_path) == [], stage


# Imports everything once, then is killed as a child of itself at each stage.
KILLED = """
import os, signal, sys
from conddiffusion_uad.io import volume
from conddiffusion_uad.protocol.events import STAGES
from conddiffusion_uad.protocol.job import DetectionJob
from conddiffusion_uad.detection import overview, pipeline, report
from conddiffusion_uad.app.detection_job import run

for stage in STAGES:
    def kill(event):
        if event.get("name") == stage:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        job = DetectionJob(inputs=(sys.argv[1],), output=os.path.join(sys.argv[2], stage), bundle=sys.argv[3])
        run(job, kill)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, stage
"""


@needs_posix
def test_a_run_that_is_killed_at_any_stage_leaves_no_results_and_the_next_one_removes_what_it_left(
    environment: dict[str, str], scan_file: Path, small_bundle: Path, tmp_path: Path
) -> None:
    subprocess.run(
        [sys.executable, "-c", KILLED, str(scan_file), str(tmp_path), str(small_bundle)], env=environment, check=True
    )
    left = os.listdir(tmp_path)
    assert len(left) <= len(STAGES) and all(name.startswith(".conddiffusion-uad-") for name in left)
    for name in left:
        os.utime(tmp_path / name, (0, 0))
    with output.staged(tmp_path / "out", force=False) as private:
        for name in result_files.FILES:
            (private / name).touch()
    assert os.listdir(tmp_path) == ["out"]


PARENT = """
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-m", "conddiffusion_uad", "worker"], stdin=subprocess.PIPE)
worker.stdin.write(sys.argv[1].encode() + b"\\n"); worker.stdin.flush()
print(worker.pid, file=sys.stderr, flush=True)
time.sleep(300)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_worker_whose_parent_is_killed_ends_within_a_second(
    environment: dict[str, str], scan_file: Path, small_bundle: Path, tmp_path: Path
) -> None:
    job = {"job": "detect", "inputs": [str(scan_file)], "output": str(tmp_path / "out"), "bundle": str(small_bundle)}
    command = [sys.executable, "-c", PARENT, encode({**job, "levels": LONG})]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe) as parent:
        assert parent.stdout is not None and parent.stderr is not None
        worker = int(parent.stderr.readline())
        for line in parent.stdout:
            if json.loads(line).get("name") == "reconstruct":
                break
        parent.kill()
        killed = time.monotonic()
        while _is_alive(worker):
            assert time.monotonic() - killed < 10, "it is an orphan"
            time.sleep(0.01)
        assert time.monotonic() - killed < 1
    assert os.listdir(tmp_path) == []


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_worker_whose_events_nobody_reads_ends(start: Start, tmp_path: Path) -> None:
    process = start("worker")
    assert process.stdin is not None and process.stdout is not None
    process.stdout.close()
    process.stdin.write(b"nonsense\n")
    process.stdin.flush()
    assert process.wait(timeout=30) == EXIT_DONE


def test_orders_that_are_cut_or_no_text_are_answered(start: Start) -> None:
    process = start("worker")
    lines = [b'{"job": "detect", "inputs": ["a', b"\xff\xfe\x00\x01", b'{"job": "d\xc3"}', b"\0" * 1000, b"[" * 100_000]
    lines += [b'{"job": "detect", "inputs": ["' + b"x" * (1 << 20) + b'"], "output": "out"}', b"\r", b""]
    stdout, stderr = process.communicate(b"\n".join(lines) + b'\n{"job": "quit"', timeout=60)
    answers = [json.loads(line) for line in stdout.splitlines()]
    assert process.returncode == EXIT_DONE and b"Traceback" not in stderr
    assert len(answers) >= len(lines) - 2 and {answer["event"] for answer in answers} <= {"error", "stage", "progress"}
    assert all(len(answer.get("message", "")) < 1000 for answer in answers)


def test_an_order_without_end_takes_no_memory_and_the_next_one_is_read() -> None:
    class Endless(io.RawIOBase):
        """A line of 100 MB that does not exist as a whole, then a short one."""

        left = 100 << 20

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:
            if self.left < 0:
                return 0
            size = min(len(buffer), self.left)
            buffer[: size or 5] = b"x" * size or b"\nnext"
            self.left -= size or 1
            return size or 5

    lines = list(worker.lines_of(io.BufferedReader(Endless())))
    assert [len(line) for line in lines] == [worker.MOST_LINE, 4] and lines[1] == b"next"


WRITERS: list[tuple[Any, str]] = [
    (volume, "write"),
    (findings, "write_table"),
    (overview, "draw"),
    (Path, "write_text"),
    (os, "replace"),
    (os, "rename"),
]


@pytest.mark.parametrize(("owner", "name"), WRITERS, ids=[name for _, name in WRITERS])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_that_fails_at_any_write(
    owner: Any,
    name: str,
    number: int,
    scan_file: Path,
    small_bundle: Path,
    tmp_path: Path,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
    small_detection: None,
) -> None:
    def failing(*arguments: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owner, name, failing)
    code, events = detect(scan_file, small_bundle, tmp_path / "out", models)
    monkeypatch.undo()
    expected = "disk_full" if number in (errno.ENOSPC, errno.EDQUOT) else "cannot_write"
    assert (code, events[-1]["code"]) == (EXIT_OUTPUT, expected)
    assert str(tmp_path / "out") in events[-1]["message"] and ".conddiffusion-uad-" not in events[-1]["message"]
    assert os.listdir(tmp_path) == []


@pytest.fixture
def small_detection(
    scan_file: Path,
    small_bundle: Path,
    tmp_path_factory: pytest.TempPathFactory,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The detection is made once; what follows it is done each time."""
    if not hasattr(models, "detection"):
        original, kept = pipeline.detect, []
        monkeypatch.setattr(pipeline, "detect", lambda *a, **k: kept.append(original(*a, **k)) or kept[0])
        detect(scan_file, small_bundle, tmp_path_factory.mktemp("once") / "out", models)
        monkeypatch.undo()
        models.detection = kept[0]  # type: ignore[attr-defined]
    monkeypatch.setattr(pipeline, "detect", lambda *a, **k: models.detection)  # type: ignore[attr-defined]


def test_a_network_that_gives_no_numbers_is_told_and_no_map_is_written(
    scan_file: Path, small_bundle: Path, tmp_path: Path, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: OneStep, model: object, slices: Slices, seeds: object) -> torch.Tensor:
        return torch.full_like(slices.image[None], torch.nan)

    monkeypatch.setattr(OneStep, "__call__", broken)
    code, events = detect(scan_file, small_bundle, tmp_path / "out", models)
    assert (code, events[-1]["code"]) == (EXIT_BUNDLE, "not_finite_result")
    assert os.listdir(tmp_path) == []


ODD_NAMES = [
    "with spaces and 'quotes' & $signs;",
    "Zoë Müller-Łukasz",
    "٣٤٥ مسح الدماغ",
    "脳 🧠",
    "-starts-with-a-dash",
    "x" * 240,
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=["spaces", "umlauts", "arabic", "emoji", "dash", "240 characters"])
def test_odd_paths(name: str, scan_file: Path, small_bundle: Path, tmp_path: Path, small_detection: None) -> None:
    folder = tmp_path / name
    folder.mkdir()
    scan = folder / f"{name[:200]}_T1.nii.gz"
    shutil.copy(scan_file, scan)
    bundle = shutil.copytree(small_bundle, folder / "bundle")
    code, events = detect(scan, bundle, folder / name, Models())
    assert code == EXIT_DONE, events[-1]
    report = Path(decode(encode(events[-1]))["report"])
    assert report == folder / name / result_files.REPORT and report.is_file()
    heatmap = sitk.ReadImage(str(folder / name / result_files.HEATMAP))
    assert heatmap.GetSize() == sitk.ReadImage(str(scan_file)).GetSize()
    assert sorted(os.listdir(folder)) == sorted({scan.name, "bundle", name})


def test_a_clock_that_jumps_neither_stops_the_progress_nor_turns_it_back() -> None:
    jumps = iter([0.0, 1.0, 2.0, 1e9, 1e9 + 1, -5000.0, -4999.0, 3.0, 3.1, -7.0, -6.0])
    events: list[Event] = []
    seconds = {"register": 1.0, "b": 9.0}
    progress = EventProgress(events.append, stages=seconds, clock=lambda: next(jumps, -9.0), interval=0.0)
    progress.expect(seconds)
    progress.stage("register")
    for step in range(1, 8):
        progress.advance(step / 8)
    progress.stage("b")
    progress.advance(0.5)
    progress.advance(1.0)
    told = [event for event in events if event["event"] == "progress"]
    fractions = [event["fraction"] for event in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and len(told) >= 6
    left = [event["eta_s"] for event in told if event["eta_s"] is not None]
    (estimate,) = (event["seconds"] for event in events if event["event"] == "estimate")
    assert left and min([*left, estimate]) >= 0
