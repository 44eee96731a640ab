"""When things happen during a run: the scene is as it was, nothing is left, and a sentence says what to do."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import Desk
from desk_runs import Wait, begin, end, is_alive
from mrml_application import MrmlApplication, load_scene, save_scene
from standin.application import Application
from standin.qt_module import show_properties

show_properties(sys.modules[__name__])


@pytest.fixture
def desk(tidy_desk: Desk) -> Desk:
    return tidy_desk


@pytest.mark.parametrize("mode", ["ok", "noisy", "chatty", "garbled"])
def test_all_is_well(desk: Desk, wait_until: Wait, mode: str) -> None:
    before = begin(desk, wait_until, mode)
    wait_until(lambda: not desk.panel.run.busy, 20)
    assert len(desk.nodes() - before) >= 5
    assert desk.left() == []
    assert desk.message.endswith("; 1 warning") and desk.ui.detailsLabel.text == "\u2022 A warning. A hint."
    assert desk.ui.findingsTable.rowCount == 1
    assert is_alive(desk.process), "it is kept warm"
    assert len(desk.panel.logic.log.text()) < 300_000
    if mode == "noisy":
        log = desk.ui.logView.plainText
        assert "a library says hello" in log and "grüße" in log and "[1, 2]" in log


def test_the_worker_stays_for_the_next_click(desk: Desk, wait_until: Wait) -> None:
    begin(desk, wait_until, "ok")
    wait_until(lambda: not desk.panel.run.busy, 20)
    process = desk.process
    desk.ui.detectButton.click()
    wait_until(lambda: not desk.panel.run.busy, 20)
    assert desk.process == process
    assert desk.ui.detectionBox.count == 2


def test_cancel_is_answered(desk: Desk, wait_until: Wait) -> None:
    before = begin(desk, wait_until, "patient")
    desk.ui.cancelButton.click()
    assert not desk.ui.cancelButton.enabled
    assert end(desk, wait_until, before, "Canceled.") < 1
    assert is_alive(desk.process), "it answered, so it is kept warm"
    assert desk.ui.detectButton.enabled


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no signals")
@pytest.mark.parametrize("mode", ["deaf", "stubborn"])
def test_cancel_works_within_three_seconds_whatever_the_worker_does(desk: Desk, wait_until: Wait, mode: str) -> None:
    before = begin(desk, wait_until, mode)
    process = desk.process
    desk.ui.cancelButton.click()
    desk.ui.cancelButton.click()
    assert end(desk, wait_until, before, "Canceled.") < 3
    assert not is_alive(process)


def test_cancel_before_the_worker_has_the_scan(desk: Desk, wait_until: Wait) -> None:
    desk.worker("patient")
    before = desk.nodes()
    desk.ui.detectButton.click()
    desk.ui.cancelButton.click()
    assert end(desk, wait_until, before, "Canceled.") < 1
    assert desk.process == 0


def test_a_second_click_does_nothing(desk: Desk, wait_until: Wait) -> None:
    before = begin(desk, wait_until, "patient")
    desk.ui.detectButton.click()
    desk.panel.run.detect()
    from CondDiffusionUADLib.run.Problems import ProblemError

    with pytest.raises(ProblemError, match="Another scan is being examined"):
        desk.panel.logic.start(desk.panel.input.volume, desk.panel._request()[1], desk.panel.run)
    assert [Path(path).name for path in desk.left()] == ["scan.nrrd"]
    desk.ui.cancelButton.click()
    end(desk, wait_until, before, "Canceled.")


def test_the_scene_is_closed(desk: Desk, wait_until: Wait, mrml: MrmlApplication) -> None:
    begin(desk, wait_until, "patient")
    mrml.scene.Clear(False)
    wait_until(lambda: not desk.panel.run.busy, 3)
    assert "The scene was closed" in desk.message and "Load the scan and detect again." in desk.message
    assert desk.left() == [] and not desk.ui.detectButton.enabled
    assert mrml.scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 0


def test_another_scene_is_loaded(desk: Desk, wait_until: Wait, mrml: MrmlApplication, tmp_path: Path) -> None:
    save_scene(mrml, tmp_path / "scene.mrb")
    begin(desk, wait_until, "patient")
    load_scene(mrml, tmp_path / "scene.mrb")
    wait_until(lambda: not desk.panel.run.busy, 3)
    assert "The scene was closed" in desk.message
    assert desk.left() == [] and desk.ui.detectButton.enabled


def test_the_input_is_deleted(desk: Desk, wait_until: Wait, mrml: MrmlApplication, scan: Any) -> None:
    before = begin(desk, wait_until, "patient")
    gone = {scan.GetID()}
    mrml.scene.RemoveNode(scan)
    end(desk, wait_until, before - gone, "The scan was deleted", "Load it and detect again.", seconds=3)


def test_the_input_is_renamed(desk: Desk, wait_until: Wait, scan: Any) -> None:
    begin(desk, wait_until, "ok")
    scan.SetName("renamed")
    wait_until(lambda: not desk.panel.run.busy, 20)
    assert desk.panel.findings.live.nodes.heatmap.GetName().startswith("renamed")


def test_the_module_is_reloaded(desk: Desk, wait_until: Wait, make_desk: Callable[..., Desk]) -> None:
    before = begin(desk, wait_until, "patient")
    process = desk.process
    started = time.monotonic()
    desk.widget.cleanup()
    assert time.monotonic() - started < 3
    assert not is_alive(process) and desk.left() == [] and desk.nodes() == before
    again = make_desk(enter=False)
    assert type(again.panel) is not type(desk.panel), "the library was taken from the disk again"
    begin(again, wait_until, "ok")
    wait_until(lambda: not again.panel.run.busy, 20)
    assert again.message.startswith("1 candidate, ")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no signals")
@pytest.mark.parametrize("mode", ["patient", "stubborn"])
def test_slicer_quits(desk: Desk, wait_until: Wait, app: Application, mode: str) -> None:
    before = begin(desk, wait_until, mode)
    process = desk.process
    started = time.monotonic()
    app.send("aboutToQuit()")
    assert time.monotonic() - started < 3
    assert not is_alive(process) and desk.left() == [] and desk.nodes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no signals")
def test_the_worker_is_killed(desk: Desk, wait_until: Wait) -> None:
    before = begin(desk, wait_until, "patient")
    os.kill(desk.process, 9)
    end(desk, wait_until, before, "ended unexpectedly", "close other programs")
    assert desk.process == 0 and desk.ui.detectButton.enabled
    begin(desk, wait_until, "ok")
    wait_until(lambda: not desk.panel.run.busy, 20)
    assert desk.message.startswith("1 candidate, ")


@pytest.mark.parametrize("mode", ["exit", "cut"])
def test_the_worker_ends_with_an_exit_code(desk: Desk, wait_until: Wait, mode: str) -> None:
    desk.worker(mode, "7")
    before = desk.nodes()
    desk.ui.detectButton.click()
    end(desk, wait_until, before, "ended unexpectedly (exit code 7)")


def test_the_worker_cannot_be_started(desk: Desk, wait_until: Wait) -> None:
    from CondDiffusionUADLib.run import Application
    from CondDiffusionUADLib.run.ChildProcess import Launch

    desk.monkeypatch.setattr(Application, "engineLaunch", lambda *arguments: Launch("/no/such/program", ()))
    before = desk.nodes()
    desk.ui.detectButton.click()
    end(desk, wait_until, before, "/no/such/program does not run", "antivirus")
