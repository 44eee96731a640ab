"""What the panel says when the engine, the disk or the choices say no, and how a scan is run anyway."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import Desk
from desk_runs import Wait, begin, end, is_alive
from standin.application import Application
from standin.qt_module import show_properties

show_properties(sys.modules[__name__])


@pytest.fixture
def desk(tidy_desk: Desk) -> Desk:
    return tidy_desk


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
        ("too_few_samples", "without the uncertainty"),
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


def test_there_is_no_temporary_folder(desk: Desk, wait_until: Wait, app: Application) -> None:
    here = app.temporaryPath
    app.temporaryPath = here + "/no/such/folder"
    before = desk.nodes()
    desk.ui.detectButton.click()
    app.temporaryPath = here
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
