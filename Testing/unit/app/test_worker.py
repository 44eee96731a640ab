"""The worker as a real process: warm, patient with nonsense, and gone when its stdin is."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conddiffusion_uad.protocol import result_files
from conddiffusion_uad.protocol.events import encode
from conddiffusion_uad.protocol.failures import EXIT_CANCELLED, EXIT_DONE, Cancelled

LONG = list(range(1, 1001))  # noise levels that keep it reconstructing for minutes
Start = Callable[..., "subprocess.Popen[bytes]"]


class Talk:
    """A conversation with a worker."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def say(self, order: dict[str, Any] | str) -> None:
        """Send one line."""
        assert self.process.stdin is not None
        line = order if isinstance(order, str) else encode(order)
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, *ends: str, **wanted: Any) -> list[dict[str, Any]]:
        """The events up to the first that is one of `ends` and has the wanted fields. Every line must be an event."""
        events = []
        while True:
            events.append(json.loads(self._lines.get(timeout=90)))
            if events[-1]["event"] in ends and wanted.items() <= events[-1].items():
                return events
            assert events[-1]["event"] not in ("error", "done"), events[-1]


@pytest.fixture(scope="module")
def talk(start: Start) -> Iterator[Talk]:
    """One warm worker for all tests of this file."""
    process = start("worker")
    threading.Thread(target=lambda: process.stderr.read(), daemon=True).start()  # type: ignore[union-attr]
    yield Talk(process)
    process.kill()
    process.wait()


@pytest.fixture
def job(scan_file: Path, small_bundle: Path, tmp_path: Path) -> dict[str, Any]:
    """A job that succeeds."""
    return {"job": "detect", "inputs": [str(scan_file)], "output": str(tmp_path / "out"), "bundle": str(small_bundle)}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("nonsense", "bad_line"),
        ("[1, 2]", "bad_line"),
        ('{"job": "dance"}', "bad_line"),
        ('{"inputs": ["a"]}', "bad_line"),
        ('{"job": "detect"}', "bad_option"),
        ('{"job": "detect", "inputs": ["a"], "output": "b", "skull": "maybe"}', "bad_option"),
        ('{"job": "detect", "id": [1], "inputs": ["a"], "output": "b"}', "bad_line"),
    ],
)
def test_nonsense_is_answered_and_survived(talk: Talk, line: str, code: str) -> None:
    talk.say(line)
    (event,) = talk.hear("error")
    assert event["code"] == code and event["message"] and event["hint"]


def test_an_error_carries_the_id_of_its_job(talk: Talk) -> None:
    talk.say({"job": "detect", "id": "wrong", "inputs": ["a"], "output": "b", "seed": -1})
    assert talk.hear("error")[-1]["id"] == "wrong"


def test_a_bad_scan_is_told_and_survived(talk: Talk, job: dict[str, Any], tmp_path: Path) -> None:
    talk.say({**job, "id": 1, "inputs": [str(tmp_path / "missing.nii")]})
    events = talk.hear("error")
    assert events[-1]["code"] == "file_not_found" and all(event["id"] == 1 for event in events)
    assert os.listdir(tmp_path) == []


def test_models_stay_for_the_next_job(talk: Talk, job: dict[str, Any], tmp_path: Path) -> None:
    talk.say({**job, "id": "first", "output": str(tmp_path / "first")})
    talk.say({**job, "output": str(tmp_path / "second")})
    first = talk.hear("done", "error")
    assert first[-1] == {"event": "done", "report": str(tmp_path / "first" / "report.json"), "id": "first"}
    assert all(event["id"] == "first" for event in first)
    second = talk.hear("done", "error")
    assert second[-1] == {"event": "done", "report": str(tmp_path / "second" / "report.json")}
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("first", "second")]
    assert reports[1]["seconds"]["load"] < 0.5
    for name in set(result_files.FILES) - {result_files.REPORT}:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_it_loads_what_a_job_takes_before_one_comes(talk: Talk, job: dict[str, Any], small_bundle: Path) -> None:
    talk.say({"job": "prepare", "id": 0, "bundle": str(small_bundle), "device": "cpu"})
    (event,) = talk.hear("ready")
    assert event["id"] == 0 and event["memory_mb"] > 100 and event["devices"][-1]["name"] == "cpu" and event["torch"]
    talk.say({**job, "id": 77})
    assert talk.hear("done", id=77)[-1]["report"]


@pytest.mark.parametrize(
    ("order", "code"),
    [({"bundle": 3}, "bad_line"), ({"more": 1}, "bad_line"), ({"bundle": "/no/such"}, "bundle_not_found")],
)
def test_what_cannot_be_prepared_is_told(talk: Talk, order: dict[str, Any], code: str) -> None:
    talk.say({"job": "prepare", "id": 5, **order})
    (event,) = talk.hear("error")
    assert event["code"] == code and event["id"] == 5


def test_cancelling_leaves_no_file_and_does_not_touch_the_next_job(
    talk: Talk, job: dict[str, Any], tmp_path: Path
) -> None:
    talk.say({**job, "id": 1, "levels": LONG})
    talk.say({**job, "id": 2, "output": str(tmp_path / "never")})
    talk.say({**job, "id": 3, "output": str(tmp_path / "next"), "inputs": [str(tmp_path / "missing.nii")]})
    talk.hear("stage", name="reconstruct", id=1)
    assert os.listdir(tmp_path) != []
    talk.say({"job": "cancel", "id": 2})
    talk.say({"job": "cancel", "id": "unknown"})
    talk.say({"job": "cancel", "id": 1})
    asked = time.monotonic()
    assert talk.hear("error", "done")[-1] == {**Cancelled().event(), "id": 1}
    assert time.monotonic() - asked < 2
    assert talk.hear("error", "done")[-1] == {**Cancelled().event(), "id": 2}
    assert talk.hear("error", "done")[-1]["code"] == "file_not_found"
    assert os.listdir(tmp_path) == []


def test_the_end_of_stdin_ends_it_within_a_second_in_the_middle_of_a_reconstruction(
    talk: Talk, job: dict[str, Any], tmp_path: Path
) -> None:
    """The last test with this worker."""
    talk.say({**job, "levels": LONG})
    talk.hear("stage", name="reconstruct")
    time.sleep(0.5)
    assert os.listdir(tmp_path) != []
    assert talk.process.stdin is not None
    talk.process.stdin.close()
    closed = time.monotonic()
    assert talk.process.wait(timeout=10) == EXIT_DONE
    assert time.monotonic() - closed < 1
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
def test_terminating_it_leaves_nothing(start: Start, job: dict[str, Any], tmp_path: Path) -> None:
    process = start("worker")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(encode({**job, "levels": LONG}).encode() + b"\n")
    process.stdin.flush()
    for line in process.stdout:
        if json.loads(line).get("name") == "register":
            break
    process.terminate()
    assert process.wait(timeout=10) == EXIT_CANCELLED
    assert os.listdir(tmp_path) == []


def test_quit_ends_it(start: Start) -> None:
    process = start("worker")
    stdout, _ = process.communicate(b'{"job": "quit"}\n', timeout=10)
    assert (process.returncode, stdout) == (EXIT_DONE, b"")


def test_the_end_of_stdin_ends_it_while_it_loads(start: Start, job: dict[str, Any], tmp_path: Path) -> None:
    process = start("worker")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(encode(job).encode() + b"\n")
    process.stdin.flush()
    for line in process.stdout:
        if json.loads(line).get("name") == "load":
            break
    process.stdin.close()
    closed = time.monotonic()
    assert process.wait(timeout=10) == EXIT_DONE
    assert time.monotonic() - closed < 2
    assert os.listdir(tmp_path) == []


def test_a_worker_without_a_job_goes_when_its_memory_is_wanted() -> None:
    script = (
        "from conddiffusion_uad.app import readiness, worker; worker.LOOK_S = 0.2;"
        "readiness.memory_is_wanted = lambda: True; worker.serve()"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, env=_environment())
    assert process.wait(30) == EXIT_DONE


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3] / "CondDiffusionUAD")}
