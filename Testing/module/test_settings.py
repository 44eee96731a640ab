"""What the panel asks before it installs, repairs and removes, and how it tells what is under way."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import qt
from desk import Desk
from standin.application import Application
from standin.qt_module import show_properties

show_properties(sys.modules[__name__])

FOLDER_CHOICE = "Install from a folder of wheels..."


@pytest.fixture
def desk(app: Application, scan: Any, make_desk: Callable[..., Desk]) -> Iterator[Desk]:
    """A panel whose environment is not there yet; dialogs do not answer by themselves."""
    app.testing = False
    qt.QMessageBox.asked.clear()
    yield make_desk(ready=False)
    assert qt.QMessageBox.answers == []


def answer(*texts: str) -> None:
    qt.QMessageBox.answers[:] = texts


def test_the_first_click_asks_once_installs_and_goes_on(desk: Desk) -> None:
    ui = desk.ui
    answer("Install")
    ui.detectButton.click()
    assert qt.QMessageBox.asked == ["Install from the registry?"]
    assert desk.installer.calls == [("install", None)] and desk.panel.run.busy
    assert not ui.detectButton.enabled and ui.progressArea.visible
    desk.installer.listener.onStep("PyTorch: 120 of 180 MB", 0.6)
    assert ui.stageLabel.text == "PyTorch: 120 of 180 MB" and ui.progressBar.value == 600
    desk.installer.listener.onStep("Checking", None)
    assert ui.progressBar.maximum == 0, "nobody knows how long it takes"
    answer("OK", "Cancel")
    assert desk.installer.listener.onQuestion("It is larger: 2 GB. Go on?")
    assert not desk.installer.listener.onQuestion("Once more?")
    desk.installer.finish()
    desk.wait(lambda: not desk.panel.run.busy)
    assert desk.message.startswith("4 candidates")


def test_no_is_no(desk: Desk) -> None:
    answer("Cancel")
    desk.ui.detectButton.click()
    assert desk.installer.calls == [] and not desk.panel.run.busy and desk.ui.detectButton.enabled


def test_while_slicer_tests_nothing_is_installed(desk: Desk, app: Application) -> None:
    app.testing = True
    desk.ui.detectButton.click()
    assert desk.installer.calls == [] and qt.QMessageBox.asked == []


def test_an_installation_from_a_folder(desk: Desk, tmp_path: Path) -> None:
    from CondDiffusionUADLib.run import Problems

    answer(FOLDER_CHOICE, "Install")
    qt.QFileDialog.answers = [str(tmp_path)]
    desk.ui.detectButton.click()
    assert desk.installer.calls == [("install", tmp_path)]
    assert qt.QMessageBox.asked[-1] == f"Install from {tmp_path}?"
    desk.ui.cancelButton.click()
    assert desk.installer.calls[-1] == ("cancel",) and desk.ui.stageLabel.text == "Canceling"
    desk.installer.listener.onStep("Downloading", 0.5)
    assert desk.ui.stageLabel.text == "Canceling" and not desk.ui.cancelButton.enabled
    desk.installer.finish(Problems.canceled())
    assert (
        not desk.panel.run.busy
        and desk.message == "Canceled."
        and desk.ui.detectButton.enabled
        and not desk.ui.progressArea.visible
    )
    qt.QFileDialog.answers = [""]
    answer(FOLDER_CHOICE)
    desk.ui.detectButton.click()
    assert not desk.panel.run.busy


@pytest.mark.parametrize("button", ["detectButton", "repairButton"])
def test_a_cancel_that_comes_too_late_says_that_it_is_installed_and_examines_nothing(desk: Desk, button: str) -> None:
    answer("Install")
    getattr(desk.ui, button).click()
    desk.ui.cancelButton.click()
    desk.installer.finish()
    assert desk.message == "The Python environment was ready already; it stays." and not desk.panel.run.busy
    assert desk.ui.detectButton.enabled and not desk.ui.progressArea.visible
    assert "1,700 MB" in desk.ui.environmentLabel.text and desk.ui.repairButton.text == "Repair..."


def test_a_failed_installation_is_explained(desk: Desk) -> None:
    from CondDiffusionUADLib.run.Problems import Problem

    answer("Install")
    desk.ui.detectButton.click()
    desk.installer.finish(Problem("disk_full", "The disk is full.", "Free 3 GB."))
    assert desk.message == "The disk is full. Free 3 GB." and "disk_full" in desk.ui.logView.plainText


def test_what_cannot_be_installed_can_be_chosen_with_a_button_that_is_there(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from CondDiffusionUADLib.run.InstallTexts import EnvironmentState
    from CondDiffusionUADLib.run.Problems import cannotKeepEnvironment, fromInstallation

    problems = (fromInstallation("no_python", "none fits"), cannotKeepEnvironment("no home"))
    gone = EnvironmentState(False, True, Path("gone"), None, "There is no Python gone.")
    for state in (desk.installer.state(), gone):
        monkeypatch.setattr(desk.installer, "state", lambda state=state: state)
        desk.panel.settings.show()
        assert all(f'"{desk.ui.chooseEnvironmentButton.text}"' in problem.hint for problem in problems)
        qt.QFileDialog.answers = [str(tmp_path)]
        desk.ui.chooseEnvironmentButton.click()
        assert desk.installer.calls.pop() == ("use", str(tmp_path))
        desk.installer.finish()


@pytest.mark.parametrize("button", ["detectButton", "repairButton"])
def test_where_there_is_no_place_for_an_installation_that_is_said(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, button: str
) -> None:
    from CondDiffusionUADLib.run.Problems import ProblemError, cannotKeepEnvironment

    problem = cannotKeepEnvironment("This user has no home folder.")

    def question(wheels: Path | None = None) -> str:
        raise ProblemError(problem)

    monkeypatch.setattr(desk.installer, "question", question)
    getattr(desk.ui, button).click()
    assert desk.message == problem.text and not desk.panel.run.busy and desk.ui.detectButton.enabled


def test_the_environment_is_shown_repaired_and_removed(desk: Desk) -> None:
    ui = desk.ui
    assert ui.environmentLabel.text == "It is not installed yet." and ui.repairButton.text == "Install..."
    assert not ui.removeButton.enabled
    answer("Install")
    ui.repairButton.click()
    assert not ui.repairButton.visible and not ui.detectButton.enabled
    desk.installer.finish()
    assert "1,700 MB" in ui.environmentLabel.text and ui.repairButton.text == "Repair..."
    assert desk.message == "The Python environment is ready." and ui.detectButton.enabled
    answer("Cancel")
    ui.removeButton.click()
    assert ("remove",) not in desk.installer.calls and "1700 MB" in qt.QMessageBox.asked[-1]
    desk.wait(lambda: ui.readyLabel.visible)
    answer("OK")
    ui.removeButton.click()
    assert not ui.readyLabel.visible, "what was loaded ran in it"
    assert desk.installer.calls[-1] == ("remove",) and not ui.removeButton.enabled


def test_an_environment_made_by_hand(desk: Desk, tmp_path: Path) -> None:
    qt.QFileDialog.answers = ["", str(tmp_path)]
    desk.ui.chooseEnvironmentButton.click()
    assert desk.installer.calls == []
    desk.ui.chooseEnvironmentButton.click()
    assert desk.installer.calls == [("use", str(tmp_path))] and desk.panel.run.busy
    desk.installer.finish()
    assert not desk.panel.run.busy


def test_the_model_is_loaded_when_the_panel_opens_if_that_is_wanted(desk: Desk) -> None:
    from CondDiffusionUADLib.run import UserSettings

    assert desk.panel.logic.workerProcessId == 0, "there is no environment yet"
    desk.installer.ready = True
    desk.widget.enter()
    desk.wait(lambda: desk.ui.readyLabel.visible)
    assert "571 MB of memory" in desk.ui.readyLabel.text and desk.ui.deviceHint.text
    os.kill(desk.panel.logic.workerProcessId, signal.SIGTERM)
    desk.wait(lambda: not desk.ui.readyLabel.visible)
    desk.widget.enter()
    desk.wait(lambda: desk.ui.readyLabel.visible)
    desk.ui.readyBox.checked = False
    assert not UserSettings.keepReady() and not desk.ui.readyLabel.visible
    desk.wait(lambda: desk.panel.logic.workerProcessId == 0)


def test_models_are_imported_and_removed(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_bundle: Path
) -> None:
    from CondDiffusionUADLib.run.ChildProcess import Launch

    home = tmp_path / "models"
    monkeypatch.setenv("CONDDIFFUSION_UAD_MODELS", str(home))
    copy = f"import shutil; shutil.copytree({str(small_bundle)!r}, {str(home / 'mine')!r})"
    launches: list[tuple[str, ...]] = []

    def launch(script: str) -> Callable[..., Launch]:
        def starting(*arguments: str) -> Launch:
            launches.append(arguments)
            return Launch(sys.executable, ("-c", script))

        return starting

    ui, models = desk.ui, desk.panel.models
    assert not ui.removeModelButton.enabled, "the shipped one is no imported one"
    for script, words in (
        ("import sys; print('Error: It is damaged.', file=sys.stderr); sys.exit(4)", "It is damaged."),
        (copy, "The model mine is installed."),
    ):
        monkeypatch.setattr(models, "_launch", launch(script))
        qt.QFileDialog.answers = [str(tmp_path / "mine.zip")]
        answer("ZIP archive...")
        ui.importModelButton.click()
        assert not ui.importModelButton.enabled
        desk.wait(lambda: ui.importModelButton.enabled)
        assert words in desk.message
    assert launches[-1] == ("bundle", "import", str(tmp_path / "mine.zip"), "--name", "mine")
    assert ui.bundleBox.currentText == "mine" and desk.panel._parameters.bundle == "mine"
    qt.QFileDialog.answers = [str(tmp_path / "mine")]
    answer("Folder...", "Cancel")
    ui.importModelButton.click()
    assert "already" in qt.QMessageBox.asked[-1]
    answer("OK")
    ui.removeModelButton.click()
    assert not (home / "mine").exists()
    assert not ui.removeModelButton.enabled


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("mine.zip", "mine"),
        ("mine.ZIP", "mine"),
        ("Klinik Köln (2).zip", "Klinik-K-ln-2"),
        ("a.b", "a.b"),
        ("learned.zip", "learned-imported"),
        ("default.zip", "default-imported"),  # what `residual` was called before
        ("...", "model"),
        ("x" * 90, "x" * 50),
    ],
)
def test_an_imported_model_has_a_name_that_the_engine_takes(app: Application, source: str, name: str) -> None:
    from conddiffusion_uad.bundle.importing import NAME
    from CondDiffusionUADLib.panel.SettingsPanel import importedName

    assert importedName(Path(source)) == name and NAME.fullmatch(name)


@pytest.mark.parametrize(("kind", "damaged"), [("Folder...", True), ("ZIP archive...", False)])
def test_a_real_model_is_imported_and_a_damaged_one_refused_in_a_sentence(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_bundle: Path, kind: str, damaged: bool
) -> None:
    from CondDiffusionUADLib.run.EngineLaunch import engineLaunch

    monkeypatch.setenv("CONDDIFFUSION_UAD_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(desk.panel.models, "_launch", engineLaunch)
    source = Path(shutil.copytree(small_bundle, tmp_path / "source" / "mine"))
    if damaged:
        (source / "models" / "pickled.pt").write_bytes(b"\x80\x04")
    answer(kind)
    qt.QFileDialog.answers = [shutil.make_archive(str(source), "zip", source) if not damaged else str(source)]
    desk.ui.importModelButton.click()
    desk.wait(lambda: desk.ui.importModelButton.enabled, 60)
    assert "--" not in desk.message
    assert desk.message.startswith("The model mine was not installed. " if damaged else "The model mine is installed.")
    assert desk.message.count(". ") == damaged, "one sentence says why"
    assert (desk.ui.bundleBox.currentText == "mine") != damaged
