"""The next scan is prepared while the network works on this one, and nobody can tell from the results."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.app import detection_job as job
from conddiffusion_uad.app import prefetch as ahead
from conddiffusion_uad.app.prefetch import Ahead, Preparing
from conddiffusion_uad.detection.recorder import Recorder
from conddiffusion_uad.io import volume
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.preprocessing import preparation
from conddiffusion_uad.protocol.events import Event, Quiet
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, EXIT_CANCELLED, BadInput, Cancelled
from conddiffusion_uad.protocol.job import DetectionJob

FILES = ("heatmap.nii.gz", "reconstruction.nii.gz", "segmentation.nii.gz", "findings.csv")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_has_room_for_two", lambda: True)


@pytest.fixture
def scans(scan_file: Path, tmp_path: Path) -> tuple[str, str, str]:
    """Three scans; no two are alike."""
    first = sitk.ReadImage(str(scan_file))
    noise = np.random.default_rng(1).normal(1, 0.02, (2, *first.GetSize()[::-1]))
    paths = [tmp_path / f"{name}_T1.nii.gz" for name in ("first", "second", "third")]
    shutil.copy(scan_file, paths[0])
    for path, factor in zip(paths[1:], noise, strict=True):
        other = sitk.GetImageFromArray((sitk.GetArrayFromImage(first) * factor).astype(np.float32))
        other.CopyInformation(first)
        sitk.WriteImage(other, str(path))
    return tuple(map(str, paths))


@pytest.fixture
def detection(small_bundle: Path, tmp_path: Path) -> Callable[..., DetectionJob]:
    def make(*inputs: str, output: str = "out") -> DetectionJob:
        return DetectionJob(inputs, str(tmp_path / output), bundle=str(small_bundle), contrast="T1", device="cpu")

    return make


def told(events: list[Event]) -> list[str]:
    """The stages and ends in order, without their repetitions."""
    names = [event.get("name") or event["event"] for event in events if event["event"] != "progress"]
    return [name for name in names if name not in ("estimate", "warning")]


def test_results_are_those_of_one_by_one(
    detection: Callable[..., DetectionJob], scans: tuple[str, ...], tmp_path: Path
) -> None:
    together: list[Event] = []
    assert job.run(detection(*scans), together.append) == 0
    stages = told(together)[: len(told(together)) // 3]
    assert told(together) == 3 * stages and stages[0] == "read" and stages[-1] == "done"
    for scan in scans[1:]:
        name = Path(scan).name.removesuffix(".nii.gz")
        assert job.run(detection(scan, output=name), lambda event: None) == 0
        for file in FILES:
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "out" / name / file).read_bytes()


def test_the_next_scan_is_read_before_this_one_is_done(
    detection: Callable[..., DetectionJob], scans: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    happened, read = [], volume.read

    def slowly(path: str, reading: Reading) -> sitk.Image:
        happened.append(path)
        return read(path, reading)

    monkeypatch.setattr(volume, "read", slowly)
    job.run(detection(*scans[:2]), lambda event: happened.append(event["event"]) if event["event"] == "done" else None)
    assert happened == [scans[0], scans[1], "done", "done"]


def test_a_scan_that_cannot_be_read_fails_alone_and_in_its_turn(
    detection: Callable[..., DetectionJob], scans: tuple[str, ...], tmp_path: Path
) -> None:
    events: list[Event] = []
    absent = str(tmp_path / "absent_T1.nii.gz")
    assert job.run(detection(scans[0], absent, scans[1]), events.append) == EXIT_BAD_INPUT
    ends = [event for event in events if event["event"] in ("done", "error")]
    assert [event["event"] for event in ends] == ["done", "error", "done"]
    assert ends[1]["code"] == "file_not_found"
    assert told(events).count("read") == 3


@pytest.mark.parametrize("place", ["read", "prepare"])
def test_what_ran_out_of_memory_beside_another_scan_is_done_again_in_its_turn(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = []

    def fail(here: str) -> None:
        if here == place and isinstance(threading.current_thread(), Preparing):
            failed.append(here)
            raise MemoryError

    def read(path: str) -> tuple[str, str]:
        fail("read")
        return path, "T1"

    def prepare(scan: str, progress: Recorder) -> str:
        fail("prepare")
        return f"{scan} prepared"

    monkeypatch.setattr(preparation, "prepare", prepare)
    both, recorder = Ahead(("a", "b"), read), Recorder(Quiet())
    for path in ("a", "b"):
        scan, _ = both.scan(path, recorder)
        assert both.prepare(path, scan, {}, recorder) == f"{path} prepared"
    assert failed == [place]


def test_cancelling_ends_both(detection: Callable[..., DetectionJob], scans: tuple[str, ...], tmp_path: Path) -> None:
    cancelled, events = threading.Event(), []

    def emit(event: Event) -> None:
        events.append(event)
        if event.get("name") == "reconstruct":
            cancelled.set()

    assert job.run(detection(*scans), emit, cancelled) == EXIT_CANCELLED
    assert events[-1]["code"] == "cancelled" and told(events).count("read") == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.nii.gz"))
    until = time.monotonic() + 20
    while any(isinstance(thread, Preparing) for thread in threading.enumerate()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(isinstance(thread, Preparing) for thread in threading.enumerate())


class Told(Quiet):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def stage(self, name: str) -> None:
        self.calls.append(("stage", name))

    def warning(self, code: str, message: str, hint: str = "") -> None:
        self.calls.append(("warning", code))


def begun(read: Callable[[str], tuple[str, str]], **options: object) -> Ahead:
    """One that has begun with the scan "b" while "a" is at work."""
    both = Ahead(("a", "b"), read)
    both.prepare("a", "a", options, Recorder(Quiet()))
    return both


def test_what_a_preparation_tells_and_raises_comes_when_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(scan: str, *, skull: str, progress: Quiet) -> None:
        if scan == "b":
            progress.stage("orient")
            progress.warning("odd", f"{scan} {skull}")
            raise BadInput("no_brain", "There is none.")

    monkeypatch.setattr(preparation, "prepare", failing)
    both, progress = begun(lambda path: (path, "T1"), skull="on"), Told()
    assert both.scan("b", progress) == ("b", "T1")
    with pytest.raises(BadInput, match="There is none"):
        both.prepare("b", "b", {"skull": "on"}, Recorder(progress))
    assert progress.calls == [("stage", "orient"), ("warning", "odd")]


def test_one_that_is_cancelled_while_it_waits_ends_what_it_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, go_on, ended = threading.Event(), threading.Event(), []

    def slow(scan: str, *, progress: Quiet) -> None:
        if scan == "b":
            at_work.set()
            go_on.wait(20)
            try:
                progress.advance(0.5)
            except Cancelled:
                ended.append(scan)
                raise

    class Impatient(Quiet):
        def advance(self, fraction: float) -> None:
            at_work.wait(20)
            raise Cancelled()

    monkeypatch.setattr(preparation, "prepare", slow)
    both = begun(lambda path: (path, "T1"))
    (thread,) = (thread for thread in threading.enumerate() if isinstance(thread, Preparing))
    with pytest.raises(Cancelled):
        both.prepare("b", "b", {}, Recorder(Impatient()))
    go_on.set()
    thread.join(20)
    assert ended == ["b"] and not thread.is_alive()
