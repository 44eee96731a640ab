"""The installer as the panel sees it: states, questions, steps, one end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from install_place import Place
from tiny_wheels import LITTER, TEST

FAKE_WORKER = Path(__file__).resolve().parents[1] / "helpers" / "fake_worker.py"
Wait = Callable[..., float]


def test_an_environment_is_installed_shown_and_removed(place: Place, wait_until: Wait) -> None:
    from CondDiffusionUADLib.run.EngineLaunch import engineLaunch
    from CondDiffusionUADLib.run.Problems import ProblemError

    state = place.installer.state()
    assert not state.ready and state.text == "It is not installed yet." and state.place.parent == place.engine
    with pytest.raises(ProblemError, match="not installed yet"):
        engineLaunch("worker")
    assert place.install(wait_until) is None, place.listener.lines
    texts = [text for text, _ in place.listener.steps]
    assert texts[0] == "Getting the installer uv" and texts[-1] == "Trying what was installed"
    state = place.installer.state()
    assert state.ready and not state.named and state.megabytes is not None and "PyTorch 1.0" in state.text
    launch = engineLaunch("worker")
    assert Path(launch.program).is_relative_to(state.place) and launch.arguments[-1] == "worker"
    place.installer.remove()
    assert not place.installer.state().ready
    wait_until(lambda: list(place.engine.iterdir()) == [], 20)


def test_the_worker_ends_before_what_it_runs_in_is_replaced_or_removed(
    place: Place, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CondDiffusionUADLib.run import Application as Wired
    from CondDiffusionUADLib.run.ChildProcess import Launch

    launch = Launch(sys.executable, (str(FAKE_WORKER), "ok"))
    monkeypatch.setattr(Wired, "engineLaunch", lambda *arguments: launch)
    logic = Wired.detectionLogic()
    for change in (lambda: place.install(wait_until), place.installer.remove):
        told: list[Any] = []
        logic.prepare("residual", "auto", told.append)
        wait_until(lambda told=told: told, 20)
        change()
        assert logic.workerProcessId == 0


def test_the_question_names_size_place_and_source(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from CondDiffusionUADLib.run import InstallTexts, UserSettings

    monkeypatch.setattr(InstallTexts, "hasNvidia", lambda: False)
    text = place.installer.question()
    assert "400 MB" in text and "1.5 GB" in text and str(place.engine) in text and "no data leaves it" in text
    monkeypatch.setattr(InstallTexts, "hasNvidia", lambda: True)
    assert "3,200 MB" in place.installer.question()
    text = place.installer.question(Path("/media/stick"))
    assert "/media/stick" in text and "nothing is downloaded" in text and "instead of" not in text
    UserSettings.setEnvironmentPython("/mine/bin/python")
    assert "instead of /mine/bin/python" in place.installer.question()


def test_a_failure_is_one_sentence_and_one_that_helps(place: Place, wait_until: Wait) -> None:
    next(place.wheels.iterdir()).unlink()
    assert place.install(wait_until) == "no_wheels"
    (problem,) = place.listener.ends
    assert "tinytorch" in problem.message and "README" in problem.hint
    assert not place.installer.busy and not place.installer.state().ready


def test_cancel_is_told_at_once_and_leaves_nothing(place: Place, wait_until: Wait) -> None:
    place.test.write_text("import time; time.sleep(60)")
    place.installer.install(place.listener, place.wheels)
    wait_until(lambda: place.listener.steps and place.listener.steps[-1][0].startswith("Trying"), 60)
    place.installer.cancel()
    assert wait_until(lambda: place.listener.ends, 3) < 3
    assert place.listener.code == "cancelled" and not place.installer.busy
    wait_until(lambda: list(place.engine.iterdir()) == [], 5)
    place.test.write_text(TEST)
    assert place.install(wait_until) is None, "and it can begin anew at once"


def test_it_is_installed_before_it_is_tidied_up_and_cannot_be_canceled_then(place: Place, wait_until: Wait) -> None:
    place.test.write_text(LITTER + TEST)
    assert place.install(wait_until) is None, place.listener.lines
    assert list(place.engine.glob(".work-*")), "what is not needed any more is still being removed"
    assert not place.installer.busy and place.installer.state().ready
    place.installer.cancel()
    wait_until(lambda: not list(place.engine.glob(".*")), 20)
    assert place.installer.state().ready and place.listener.ends == [None]


def test_what_is_removed_while_it_is_tidied_up_goes_too(place: Place, wait_until: Wait) -> None:
    place.test.write_text(LITTER + TEST)
    assert place.install(wait_until) is None, place.listener.lines
    assert list(place.engine.glob(".work-*"))
    place.installer.remove()
    assert not place.installer.state().ready
    wait_until(lambda: list(place.engine.iterdir()) == [], 20)


@pytest.mark.parametrize(
    ("settled", "code"), [('print(json.dumps({"event": "settled"}), flush=True)', None), ("", "cancelled")]
)
def test_a_process_that_is_busy_is_waited_for_once_it_cannot_be_canceled(
    place: Place, wait_until: Wait, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settled: str, code: str | None
) -> None:
    from CondDiffusionUADLib.run import InstallJob
    from CondDiffusionUADLib.run.ChildProcess import Launch

    script = tmp_path / "busy.py"
    begin = 'print(json.dumps({"event": "step", "name": "try"}), flush=True)'
    end = 'time.sleep(3.5)\nprint(json.dumps({"event": "done", "environment": ""}), flush=True)'
    script.write_text(f"import json, sys, time\nsys.stdin.readline()\n{settled}\n{begin}\nsys.stdin.readline()\n{end}")
    monkeypatch.setattr(InstallJob, "slicersPythonLaunch", lambda module: Launch(sys.executable, (str(script),)))
    place.installer.use(sys.executable, place.listener)
    wait_until(lambda: place.listener.steps, 20)
    place.installer.cancel()
    assert (wait_until(lambda: place.listener.ends, 20) < 3.2) == (code == "cancelled")
    assert place.listener.code == code and not place.installer.busy
    wait_until(lambda: not place.installer._tidying, 20)
    assert place.listener.code == code and place.installer.state().named == (code is None)


def test_the_panel_can_go_in_the_middle(place: Place, wait_until: Wait) -> None:
    place.test.write_text("import time; time.sleep(60)")
    place.installer.install(place.listener, place.wheels)
    wait_until(lambda: place.listener.steps and place.listener.steps[-1][0].startswith("Trying"), 60)
    place.installer.stop()
    assert place.listener.ends == [] and not place.installer.busy and list(place.engine.iterdir()) == []


def test_what_a_killed_installation_left_is_swept_when_the_panel_opens(place: Place, wait_until: Wait) -> None:
    from CondDiffusionUADLib.run import UserSettings

    left = place.engine / ".new-0123456789-1"
    left.mkdir(parents=True)
    UserSettings.setEnvironmentPython(sys.executable)
    opened = type(place.installer)()
    wait_until(lambda: not left.exists() and not opened._tidying, 20)
    assert not opened.busy and UserSettings.environmentPython() == sys.executable
    opened.stop()


def test_an_extension_that_is_not_whole_is_told(
    place: Place, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CondDiffusionUADLib.run import InstallJob

    def resource(relative: str) -> Path:
        raise FileNotFoundError(f"{relative} is missing.")

    monkeypatch.setattr(InstallJob, "resource", resource)
    place.installer.use(sys.executable, place.listener)
    wait_until(lambda: place.listener.ends, 20)
    (problem,) = place.listener.ends
    assert "requirements.txt is missing" in problem.text and not place.installer.busy


def test_an_environment_whose_python_has_gone_is_no_environment(place: Place, wait_until: Wait) -> None:
    assert place.install(wait_until) is None
    environment = place.installer.state().place
    settings = environment / "pyvenv.cfg"
    kept = settings.read_text()
    settings.write_text("home = /removed/Slicer/bin\n")
    state = place.installer.state()
    assert not state.ready and "no longer there" in state.text
    settings.write_text(kept)
    assert place.installer.state().ready
    (environment / "conddiffusion-uad.json").write_text("[" * 100_000)
    assert not place.installer.state().ready


def test_the_diagnostics_name_the_environment_and_why_it_is_this_one(place: Place, wait_until: Wait) -> None:
    from CondDiffusionUADLib.run.Diagnostics import diagnostics

    assert "Environment: not installed" in diagnostics("Slicer", "CPU", "residual", "", "", ())
    assert place.install(wait_until) is None
    record = place.installer.state().place / "conddiffusion-uad.json"
    kept = json.loads(record.read_text())
    record.write_text(json.dumps({**kept, "refused": [["the first", "torch cannot be loaded"]]}))
    text = diagnostics("Slicer", "CPU", "residual", "", "", ())
    assert "made with the Python that was named" in text and "  not with the first: torch cannot be loaded" in text
