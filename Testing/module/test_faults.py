"""When things happen during a run: the scene is as it was, nothing is left, and a sentence says what to do."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mrml_application import MrmlApplication, load_scene, save_scene
from standin.application import Application
from standin.qt_module import show_properties

show_properties(sys.modules[__name__])

FAKE_WORKER = Path(__file__).resolve().parents[1] / "helpers" / "fake_worker.py"
Wait = Callable[..., float]


def is_alive(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Desk:
    """A panel whose worker is the fake one."""

    def __init__(self, app: Application, mrml: MrmlApplication, monkeypatch: pytest.MonkeyPatch) -> None:
        from CondDiffusionUAD import CondDiffusionUADWidget

        self.app, self.mrml, self.monkeypatch = app, mrml, monkeypatch
        self.widget = CondDiffusionUADWidget()
        self.widget.parent.show()
        self.ui, self.panel = self.widget.panel.ui, self.widget.panel

    def worker(self, *mode: str) -> None:
        """From now on, the worker does this; see fake_worker.py."""
        from CondDiffusionUADLib.run import Application
        from CondDiffusionUADLib.run.ChildProcess import Launch

        launch = Launch(sys.executable, (str(FAKE_WORKER), *mode))
        self.monkeypatch.setattr(Application, "engineLaunch", lambda *arguments: launch)

    @property
    def process(self) -> int:
        return self.panel.logic.workerProcessId

    @property
    def message(self) -> str:
        return self.ui.messageLabel.text

    def nodes(self) -> set[str]:
        """The IDs of the nodes in the scene."""
        return {self.mrml.scene.GetNthNode(index).GetID() for index in range(self.mrml.scene.GetNumberOfNodes())}

    def left(self) -> list[str]:
        """The files in the temporary folder; a worker that stays has an empty folder of its own there."""
        return [str(path) for path in Path(self.app.temporaryPath).rglob("*") if not path.is_dir()]


@pytest.fixture
def desk(app: Application, mrml: MrmlApplication, scan: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A panel with the small scan; afterwards no process and no file may be left."""
    made = Desk(app, mrml, monkeypatch)
    yield made
    process = made.process
    made.widget.cleanup()
    assert not process or not is_alive(process)
    assert made.left() == []


def begin(desk: Desk, wait_until: Wait, *mode: str) -> set[str]:
    """Click with this worker and wait until it works; returns the nodes before."""
    desk.worker(*mode)
    before = desk.nodes()
    desk.ui.detectButton.click()
    wait_until(lambda: desk.ui.progressBar.value > 0, 20)
    assert desk.left() != [] and is_alive(desk.process)
    return before


def end(desk: Desk, wait_until: Wait, before: set[str], *words: str, seconds: float = 20) -> float:
    """Wait for the end; the scene is as it was, nothing is left, and these words are said."""
    took = wait_until(lambda: not desk.panel.run.busy, seconds)
    assert desk.nodes() == before
    assert desk.left() == []
    for word in words:
        assert word in desk.message, desk.message
    assert not desk.ui.progressArea.visible
    return took


def refuse(desk: Desk, wait_until: Wait) -> None:
    """Click with a worker that refuses the scan."""
    desk.worker("error", "quality_refused")
    before = desk.nodes()
    desk.ui.detectButton.click()
    end(desk, wait_until, before, "scan made trouble.", "run it anyway")
    assert desk.ui.anywayButton.visible


def test_a_refused_scan_can_be_run_anyway(desk: Desk, wait_until: Wait) -> None:
    assert not desk.ui.anywayButton.visible
    refuse(desk, wait_until)
    assert '"accept_any_scan": false' in desk.panel.logic.log.text()
    desk.panel.logic.renewWorker()
    desk.worker("ok")
    desk.ui.anywayButton.click()
    assert not desk.ui.anywayButton.visible
    wait_until(lambda: not desk.panel.run.busy, 20)
    assert '"accept_any_scan": true' in desk.panel.logic.log.text()
    assert desk.message.startswith("1 candidate, ")


def test_a_doubtful_scan_can_be_run_anyway_and_what_is_then_assumed_is_told(desk: Desk, wait_until: Wait) -> None:
    doubt = "Choose the scan. Or go on with --accept-any-scan: then its values are taken as intensities."
    desk.worker("error", "label_map", doubt)
    before = desk.nodes()
    desk.ui.detectButton.click()
    end(desk, wait_until, before, 'Or go on with "Run anyway": then its values are taken as intensities.')
    assert desk.ui.anywayButton.visible and "--" not in desk.message


def test_another_choice_was_not_refused(desk: Desk, wait_until: Wait) -> None:
    refuse(desk, wait_until)
    desk.ui.seedBox.value += 1
    assert not desk.ui.anywayButton.visible


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


def test_the_scene_is_closed(desk: Desk, wait_until: Wait) -> None:
    begin(desk, wait_until, "patient")
    desk.mrml.scene.Clear(False)
    wait_until(lambda: not desk.panel.run.busy, 3)
    assert "The scene was closed" in desk.message and "Load the scan and detect again." in desk.message
    assert desk.left() == [] and not desk.ui.detectButton.enabled
    assert desk.mrml.scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 0


def test_another_scene_is_loaded(desk: Desk, wait_until: Wait, tmp_path: Path) -> None:
    save_scene(desk.mrml, tmp_path / "scene.mrb")
    begin(desk, wait_until, "patient")
    load_scene(desk.mrml, tmp_path / "scene.mrb")
    wait_until(lambda: not desk.panel.run.busy, 3)
    assert "The scene was closed" in desk.message
    assert desk.left() == [] and desk.ui.detectButton.enabled


def test_the_input_is_deleted(desk: Desk, wait_until: Wait, scan: Any) -> None:
    before = begin(desk, wait_until, "patient")
    gone = {scan.GetID()}
    desk.mrml.scene.RemoveNode(scan)
    end(desk, wait_until, before - gone, "The scan was deleted", "Load it and detect again.", seconds=3)


def test_the_input_is_renamed(desk: Desk, wait_until: Wait, scan: Any) -> None:
    begin(desk, wait_until, "ok")
    scan.SetName("renamed")
    wait_until(lambda: not desk.panel.run.busy, 20)
    assert desk.panel.findings.live.nodes.heatmap.GetName().startswith("renamed")


def test_the_module_is_reloaded(desk: Desk, wait_until: Wait) -> None:
    before = begin(desk, wait_until, "patient")
    process = desk.process
    started = time.monotonic()
    desk.widget.cleanup()
    assert time.monotonic() - started < 3
    assert not is_alive(process) and desk.left() == [] and desk.nodes() == before
    again = Desk(desk.app, desk.mrml, desk.monkeypatch)
    assert type(again.panel) is not type(desk.panel), "the library was taken from the disk again"
    begin(again, wait_until, "ok")
    wait_until(lambda: not again.panel.run.busy, 20)
    assert again.message.startswith("1 candidate, ")
    again.widget.cleanup()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no signals")
@pytest.mark.parametrize("mode", ["patient", "stubborn"])
def test_slicer_quits(desk: Desk, wait_until: Wait, mode: str) -> None:
    before = begin(desk, wait_until, mode)
    process = desk.process
    started = time.monotonic()
    desk.app.send("aboutToQuit()")
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


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("out_of_memory", "choose the device CPU or the quality Fast"),
        ("disk_full", "Free some space"),
        ("cannot_write", "temporary folder"),
        ("torch_missing", "Repair the installation"),
        ("torch_broken", "Repair the installation"),
        ("device_unsupported", "Choose the device CPU"),
        ("device_lost", "restart the computer"),
        ("no_such_device", "Choose another device"),
        ("bundle_not_found", "Choose another model"),
        ("bundle_damaged", "Install the extension again"),
        ("contrast_not_in_bundle", "right contrast"),
        ("unforeseen", "Copy the diagnostics"),
        ("something_new", ""),  # the engine's hint speaks of --device
    ],
)
def test_the_engine_says_no(desk: Desk, wait_until: Wait, code: str, hint: str) -> None:
    desk.worker("error", code)
    before = desk.nodes()
    desk.ui.detectButton.click()
    end(desk, wait_until, before, "scan made trouble.", hint)
    assert "--" not in desk.message, "the panel does not speak of options"


def test_a_click_right_after_the_worker_was_told_to_end(desk: Desk, wait_until: Wait) -> None:
    desk.worker("error", "out_of_memory")
    desk.ui.detectButton.click()
    wait_until(lambda: not desk.panel.run.busy, 20)
    desk.worker("ok")
    desk.ui.detectButton.click()
    wait_until(lambda: not desk.panel.run.busy, 20)
    assert desk.message.startswith("1 candidate, "), desk.message
    process = desk.process
    desk.panel.logic._readiness.dismiss()
    desk.ui.detectButton.click()
    wait_until(lambda: not desk.panel.run.busy, 20)
    assert desk.message.startswith("1 candidate, ") and desk.process != process and not is_alive(process)


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("other_levels", "Choose the quality Full"),
        ("registration_poor", "whether the skull is removed"),
        ("batch_halved", "A hint."),
        ("device_fallback", "A hint."),
        ("memory_scarce", "Close other programs"),
    ],
)
def test_what_the_engine_warns_of_is_shown_with_the_results(desk: Desk, wait_until: Wait, code: str, hint: str) -> None:
    begin(desk, wait_until, "warn", code)
    wait_until(lambda: not desk.panel.run.busy, 20)
    assert desk.message.endswith("; 1 warning") and hint in desk.ui.detailsLabel.text
    assert f"{code}: A warning." in desk.panel.logic.log.text()


@pytest.mark.parametrize(
    ("mode", "words"),
    [("empty", "report.json is missing"), ("damaged", "heatmap.nii.gz is damaged"), ("elsewhere", "grid of ball_T1")],
)
def test_results_that_cannot_be_used(desk: Desk, wait_until: Wait, mode: str, words: str) -> None:
    desk.worker(mode)
    before = desk.nodes()
    desk.ui.detectButton.click()
    end(desk, wait_until, before, words, "detect again")


def full_disk(*_: Any, **__: Any) -> Iterator[None]:
    yield
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["writingSteps", "readingSteps"])
def test_the_disk_is_full(desk: Desk, wait_until: Wait, place: str) -> None:
    desk.monkeypatch.setattr(f"CondDiffusionUADLib.run.DetectionLogic.{place}", full_disk)
    desk.worker("ok")
    before = desk.nodes()
    desk.ui.detectButton.click()
    end(desk, wait_until, before, "is full", "Free some space")


def test_there_is_no_temporary_folder(desk: Desk, wait_until: Wait) -> None:
    here = desk.app.temporaryPath
    desk.app.temporaryPath = here + "/no/such/folder"
    before = desk.nodes()
    desk.ui.detectButton.click()
    desk.app.temporaryPath = here
    end(desk, wait_until, before, "temporary folder cannot be used", "Choose another temporary folder")


def test_there_is_no_bundle(desk: Desk, wait_until: Wait, tmp_path: Path) -> None:
    from CondDiffusionUADLib.run import Application

    desk.monkeypatch.setattr(Application, "installedBundles", lambda: [])
    before = desk.nodes()
    desk.ui.detectButton.click()
    end(desk, wait_until, before, "No model is installed.", "Install the extension again")


def test_no_contrast_is_known(desk: Desk, wait_until: Wait) -> None:
    desk.ui.contrastBox.currentIndex = 0
    before = desk.nodes()
    desk.ui.detectButton.click()
    end(desk, wait_until, before, "contrast", "Choose the contrast")
