"""The language between engine and callers: jobs, events, progress."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from conddiffusion_uad.detection.recorder import Recorder
from conddiffusion_uad.protocol.events import STAGES, Event, EventProgress, Quiet, decode, encode
from conddiffusion_uad.protocol.failures import (
    BadInput,
    BundleFailure,
    Cancelled,
    DeviceFailure,
    Failure,
    OutputFailure,
)
from conddiffusion_uad.protocol.job import DetectionJob


def test_a_line_is_ascii_and_comes_back() -> None:
    event = {"event": "done", "report": "/scans/Mädchen/report.json"}
    line = encode(event)
    assert line.isascii() and "\n" not in line
    assert decode(line + "\n") == event


@pytest.mark.parametrize("line", ["", "no", "[1]", '{"job": ', '"text"'])
def test_a_line_that_is_no_object_is_refused(line: str) -> None:
    with pytest.raises(BadInput) as caught:
        decode(line)
    assert caught.value.code == "bad_line"


def test_a_job_comes_back_from_its_line() -> None:
    job = DetectionJob(inputs=("a.nii", "b"), output="out", levels=(250, 750), healthy_flagged=0.001, force=True)
    assert DetectionJob.from_json(decode(encode(job.to_json()))) == job


@pytest.mark.parametrize(
    "wrong",
    [
        {"inputs": []},
        {"inputs": "a.nii"},
        {"inputs": [""]},
        {"inputs": [1]},
        {"output": ""},
        {"contrast": "PD"},
        {"contrast": ["T1"]},
        {"device": "gpu"},
        {"device": "cuda:x"},
        {"levels": []},
        {"levels": [0]},
        {"levels": [1001]},
        {"levels": [0.5]},
        {"levels": "250"},
        {"healthy_flagged": 0},
        {"expected_findings": 0},
        {"expected_findings": float("nan")},
        {"expected_findings": 1, "healthy_flagged": 0.01},
        {"bounded": 1},
        {"bounded": True},
        {"bounded": True, "healthy_flagged": 0.01},
        {"bounded": True, "expected_findings": 10},
        {"healthy_flagged": 1},
        {"healthy_flagged": float("nan")},
        {"healthy_flagged": "0.01"},
        {"min_volume_ml": -1},
        {"min_volume_ml": True},
        {"skull": "maybe"},
        {"seed": -1},
        {"seed": 1.5},
        {"seed": 2**31},
        {"force": "yes"},
        {"min_volume_ml": 1e308},
        {"min_volume_ml": 10**400},
        {"healthy_flagged": 10**400},
        {"device": "cuda:99999999999999999999"},
        {"device": "cuda:\u0663"},
        {"inputs": ["a\0b"]},
        {"inputs": ["no text \udcff.nii"]},
        {"output": "a\0b"},
        {"output": "\ud800"},
        {"bundle": "a\0b"},
        {"colour": "red"},
    ],
    ids=ascii,
)
def test_a_wrong_option_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput) as caught:
        DetectionJob.from_json({"inputs": ["a"], "output": "b", **wrong})
    assert caught.value.code == "bad_option" and caught.value.hint.startswith("Accepted: ")


@pytest.mark.parametrize(
    ("wrong", "told"), [({"levels": (0, 5)}, "--levels cannot be '0,5'."), ({"inputs": ("",)}, "INPUT cannot be ''.")]
)
def test_a_wrong_option_is_told_as_it_was_typed(wrong: dict[str, tuple[object, ...]], told: str) -> None:
    with pytest.raises(BadInput) as caught:
        DetectionJob(**{"inputs": ("a",), "output": "b", **wrong})
    assert caught.value.message == told


def test_a_job_without_output_is_refused() -> None:
    with pytest.raises(BadInput, match="output"):
        DetectionJob.from_json({"inputs": ["a"]})


def test_progress_counts_stages_and_never_falls() -> None:
    events: list[Event] = []
    progress = EventProgress(events.append, interval=0.0)
    for name in STAGES:
        progress.stage(name)
        for fraction in (0.2, 0.9, 0.4, 1.0, 7.0):
            progress.advance(fraction)
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    stages = [event for event in events if event["event"] == "stage"]
    assert all(earlier <= later for earlier, later in pairwise(fractions))
    assert fractions[0] == 0.0 and fractions[-1] == 1.0
    assert [event["index"] for event in stages] == list(range(1, len(STAGES) + 1))
    assert {event["total"] for event in stages} == {len(STAGES)}


def test_progress_within_a_stage_is_not_a_flood_but_its_end_is_told() -> None:
    events: list[Event] = []
    progress = EventProgress(events.append, clock=lambda: 0.0)
    progress.stage("read")
    for step in range(1000):
        progress.advance(step / 1000)
    progress.advance(1.0)
    assert len(events) == 3


def test_a_cancelled_run_ends_at_its_next_report() -> None:
    cancelled = threading.Event()
    progress = EventProgress(lambda event: None, cancelled)
    progress.stage("read")
    cancelled.set()
    with pytest.raises(Cancelled):
        progress.advance(0.5)
    with pytest.raises(Cancelled):
        progress.stage("load")


def test_an_unknown_stage_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="tea"):
        EventProgress(lambda event: None).stage("tea")


@pytest.mark.parametrize("name", ["line\nend", "\x1b[2Jscreen", "\udcff", "a" * 5000, "\u202egpj"])
def test_what_a_name_holds_does_not_rule_the_terminal(name: str) -> None:
    failure = BadInput("file_not_found", f"There is no file {name}.", f"Not {name}.")
    notes = Recorder(Quiet())
    notes.warning("odd", f"It is called {name}.", f"Rename {name}.")
    for text in (failure.message, failure.hint, notes.warnings[0]["message"], notes.warnings[0]["hint"]):
        assert text.isprintable() and len(text) < 1100 and text.endswith(".")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Failure, 1),
        (BadInput, 2),
        (DeviceFailure, 3),
        (BundleFailure, 4),
        (OutputFailure, 5),
        (Cancelled, 130),
    ],
)
def test_exit_codes_are_the_contract(kind: type[Failure], code: int) -> None:
    failure = kind("some_code", "It failed.", "Try again.")
    assert failure.exit_code == code
    assert failure.event() == {"event": "error", "code": "some_code", "message": "It failed.", "hint": "Try again."}
