"""An environment that the user made by hand and named, and our own in its place."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from install_place import Place
from tiny_wheels import TEST, make_wheel

Wait = Callable[..., float]


def test_an_environment_made_by_hand_is_taken_when_it_works(place: Place, wait_until: Wait) -> None:
    from CondDiffusionUADLib.run import UserSettings
    from CondDiffusionUADLib.run.EngineLaunch import engineLaunch

    place.test.write_text("raise SystemExit('no torch')")
    place.installer.use(sys.executable, place.listener)
    wait_until(lambda: place.listener.ends, 30)
    assert place.listener.code == "unusable" and UserSettings.environmentPython() == ""
    place.test.write_text(TEST.replace("import tinytorch", "class tinytorch: VERSION = '2'"))
    place.listener.ends.clear()
    place.installer.use(sys.executable, place.listener)
    wait_until(lambda: place.listener.ends, 30)
    assert place.listener.code is None and place.installer.state().named
    assert engineLaunch("worker").program == sys.executable
    place.listener.ends.clear()
    place.installer.use("/no/such/environment", place.listener)
    wait_until(lambda: place.listener.ends, 5)
    assert place.listener.code == "environment_gone"
    UserSettings.setEnvironmentPython("/gone/bin/python")
    state = place.installer.state()
    assert not state.ready and "/gone/bin/python" in state.text
    place.listener.ends.clear()
    place.installer.use("", place.listener)
    wait_until(lambda: place.listener.ends, 5)
    assert place.listener.code is None and not place.installer.state().named


def test_our_own_environment_takes_the_place_of_a_named_one_once_it_is_installed(
    place: Place, wait_until: Wait
) -> None:
    from CondDiffusionUADLib.run import UserSettings
    from CondDiffusionUADLib.run.EngineLaunch import engineLaunch
    from CondDiffusionUADLib.run.Environment import readRecord

    UserSettings.setEnvironmentPython("/gone/bin/python")
    next(place.wheels.iterdir()).unlink()
    assert place.install(wait_until) == "no_wheels" and UserSettings.environmentPython() == "/gone/bin/python"
    make_wheel(place.wheels, "tinytorch")
    assert place.install(wait_until) is None, place.listener.lines
    state = place.installer.state()
    assert state.ready and not state.named and Path(engineLaunch("worker").program).is_relative_to(state.place)
    made = readRecord(state.place)
    UserSettings.setEnvironmentPython("/gone/bin/python")
    assert place.install(wait_until) is None and not place.installer.state().named
    assert readRecord(state.place) == made, "it was there already, and nothing said that it needs a repair"


def test_without_a_home_folder_that_is_said_and_an_environment_can_be_named(
    place: Place, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CondDiffusionUADLib.run import Environment
    from CondDiffusionUADLib.run.Problems import ProblemError

    monkeypatch.delenv("CONDDIFFUSION_UAD_ENGINE")
    monkeypatch.setattr(Environment, "user_folder", lambda: None)
    with pytest.raises(ProblemError, match="no home folder"):
        place.installer.question()
    assert "no home folder" in place.installer.state().text
    place.installer.sweep()
    place.test.write_text(TEST.replace("import tinytorch", "class tinytorch: VERSION = '2'"))
    place.installer.use(sys.executable, place.listener)
    wait_until(lambda: place.listener.ends, 60)
    assert place.listener.code is None and place.installer.state().named and not place.installer.busy


def test_an_environment_made_by_hand_is_named_by_its_folder_or_its_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CondDiffusionUADLib.run import Environment

    conda, both = tmp_path / "conda", tmp_path / "both"
    for program in (conda / "python.exe", both / "python.exe", both / "Scripts" / "python.exe"):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch()
    assert Environment.pythonOf(conda) == conda / "bin" / "python" or os.name == "nt"
    monkeypatch.setattr(Environment, "os", SimpleNamespace(name="nt"))
    assert Environment.pythonOf(conda) == Environment.pythonOf(conda / "python.exe") == conda / "python.exe"
    assert Environment.pythonOf(both) == both / "Scripts" / "python.exe"
    assert Environment.pythonOf(tmp_path) == tmp_path / "Scripts" / "python.exe", "which is then said to be missing"
