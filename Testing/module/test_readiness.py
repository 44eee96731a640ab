"""The worker is ready when the click comes, says what it takes, and goes when nobody needs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_listener import RunListener
from standin.application import Application

FAKE_WORKER = Path(__file__).resolve().parents[1] / "helpers" / "fake_worker.py"
Wait = Callable[..., float]


@pytest.fixture
def logic(app: Application, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The detection logic, with the fake worker."""
    from CondDiffusionUADLib.run import Application as Wired
    from CondDiffusionUADLib.run.ChildProcess import Launch

    launch = Launch(sys.executable, (str(FAKE_WORKER), "ok"))
    monkeypatch.setattr(Wired, "engineLaunch", lambda *arguments: launch)
    return Wired.detectionLogic()


def settings() -> Any:
    """Of a run."""
    from CondDiffusionUADLib.run.DetectionRun import Settings

    return Settings(bundle="residual", contrast="T1")


def test_the_worker_is_ready_before_the_click(logic: Any, scan: Any, wait_until: Wait) -> None:
    told: list[Any] = []
    logic.prepare("residual", "auto", told.append)
    assert logic.workerMegabytes is None
    wait_until(lambda: told, 20)
    assert logic.workerMegabytes == 571 and [device.name for device in told[0].found] == ["cpu"]
    process, listener = logic.workerProcessId, RunListener()
    logic.start(scan, settings(), listener)
    first = wait_until(lambda: "read" in listener.stages, 20)
    assert first < 1, "the first event after the click"
    assert "load" not in listener.stages[: listener.stages.index("read")]
    logic.prepare("residual", "auto", told.append)
    wait_until(lambda: listener.outcome, 20)
    assert logic.workerProcessId == process and len(told) == 1, "a run is not disturbed"


def test_a_click_before_it_is_ready_says_what_it_waits_for(logic: Any, scan: Any, wait_until: Wait) -> None:
    listener = RunListener()
    logic.start(scan, settings(), listener)
    wait_until(lambda: listener.outcome, 20)
    assert listener.stages[:3] == ["export", "load", "read"]
    again = RunListener()
    logic.start(scan, settings(), again)
    wait_until(lambda: again.outcome, 20)
    assert again.stages[:2] == ["export", "read"], "now it is warm"


def test_what_stands_in_the_way_is_told_and_needs_a_new_process(
    logic: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    from CondDiffusionUADLib.run import Application as Wired
    from CondDiffusionUADLib.run import Problems
    from CondDiffusionUADLib.run.ChildProcess import Launch
    from CondDiffusionUADLib.run.Problems import ProblemError

    told: list[Any] = []
    broken = Launch(sys.executable, (str(FAKE_WORKER), "error", "torch_broken"))
    monkeypatch.setattr(Wired, "engineLaunch", lambda *arguments: broken)
    logic.prepare("residual", "auto", told.append)
    wait_until(lambda: told and not logic.workerProcessId, 20)
    assert "Repair the installation" in told[0].hint and logic.workerMegabytes is None

    def missing(*arguments: str) -> Launch:
        raise ProblemError(Problems.notInstalled())

    monkeypatch.setattr(Wired, "engineLaunch", missing)
    logic.prepare("residual", "auto", told.append)
    assert "not installed yet" in told[1].hint


def test_a_worker_that_dies_is_told_once_and_replaced(logic: Any, scan: Any, wait_until: Wait) -> None:
    import os

    told: list[Any] = []
    logic.prepare("residual", "auto", told.append)
    wait_until(lambda: told, 20)
    os.kill(logic.workerProcessId, 9)
    wait_until(lambda: not logic.workerProcessId, 20)
    assert logic.workerMegabytes is None and len(told) == 1
    listener = RunListener()
    logic.start(scan, settings(), listener)
    wait_until(lambda: listener.outcome, 20)
    assert listener.outcome.problem is None


def test_an_idle_worker_goes_after_a_while(logic: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Wait) -> None:
    from CondDiffusionUADLib.run import Readiness

    monkeypatch.setattr(Readiness, "IDLE_MS", 50)
    told: list[Any] = []
    logic.prepare("residual", "auto", told.append)
    wait_until(lambda: told, 20)
    wait_until(lambda: not logic.workerProcessId, 20)
    assert logic.workerMegabytes is None


def test_that_the_worker_is_gone_is_told(logic: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Wait) -> None:
    from CondDiffusionUADLib.run import Readiness

    told: list[Any] = []
    logic.prepare("residual", "auto", told.append, lambda: told.append(logic.workerMegabytes))
    wait_until(lambda: told, 20)
    monkeypatch.setattr(Readiness, "IDLE_MS", 50)
    logic.prepare("residual", "auto", told.append, lambda: told.append(logic.workerMegabytes))
    wait_until(lambda: not logic.workerProcessId, 20)
    assert len(told) == 3 and told[2] is None


def test_where_a_worker_found_no_room_the_next_one_does(logic: Any, app: Application, wait_until: Wait) -> None:
    here, told = app.temporaryPath, []
    app.temporaryPath = here + "/no/such/folder"
    logic.prepare("residual", "auto", told.append)
    assert "temporary folder cannot be used" in told[0].hint and not logic.workerProcessId
    app.temporaryPath = here
    logic.prepare("residual", "auto", told.append)
    wait_until(lambda: len(told) == 2, 20)
    assert [device.name for device in told[1].found] == ["cpu"]


def test_a_panel_that_goes_is_not_told_any_more(logic: Any) -> None:
    told: list[Any] = []
    logic.prepare("residual", "auto", told.append, lambda: told.append(None))
    logic.shutdown()
    assert told == [] and not logic.workerProcessId
