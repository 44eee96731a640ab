"""Slicer is closed while something is under way: asked once, and nothing is left behind either way."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import qt
from desk import Desk
from standin.application import Application
from standin.qt_module import show_properties

show_properties(sys.modules[__name__])

NOT_FINISHED = "The detection is not finished, and would end without a result. Quit Slicer all the same?"


@pytest.fixture
def window(app: Application, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Slicer's main window, shown."""
    made = qt.QMainWindow()
    made.objectName = "qSlicerMainWindow"
    monkeypatch.setattr(app, "topLevelWidgets", lambda: (made,))
    made.show()
    return made


@pytest.fixture
def desk(app: Application, scan: Any, window: Any, make_desk: Callable[..., Desk]) -> Desk:
    """A panel in that window; dialogs do not answer by themselves."""
    app.testing = False
    qt.QMessageBox.asked.clear()
    qt.QMessageBox.answers.clear()
    return make_desk()


def test_nothing_is_asked_when_nothing_runs(desk: Desk, window: Any) -> None:
    assert window.close()
    desk.detect("ok")
    window.show()
    assert window.close()
    assert qt.QMessageBox.asked == []


def test_slicer_stays_open_when_that_is_wanted_and_the_run_goes_on(desk: Desk, window: Any) -> None:
    desk.worker("patient")
    desk.panel.logic.renewWorker()
    desk.ui.detectButton.click()
    qt.QMessageBox.answers[:] = ["Cancel"]
    assert not window.close()
    assert window.visible and desk.panel.run.busy
    assert qt.QMessageBox.asked == [NOT_FINISHED]
    qt.QMessageBox.answers[:] = ["Quit"]
    assert window.close()


def test_an_installation_is_named(desk: Desk, window: Any) -> None:
    desk.panel.run.install(lambda listener: None, lambda problem: None)
    qt.QMessageBox.answers[:] = ["Cancel"]
    assert not window.close()
    assert qt.QMessageBox.asked[0].startswith("The installation is not finished")


def test_no_test_of_slicer_waits_for_an_answer(app: Application, desk: Desk, window: Any) -> None:
    app.testing = True
    desk.panel.run.install(lambda listener: None, lambda problem: None)
    assert window.close()


@pytest.mark.parametrize("gone", ["panel", "application"])
def test_nobody_asks_when_the_panel_or_the_application_has_gone(
    app: Application, desk: Desk, window: Any, gone: str
) -> None:
    desk.panel.run.install(lambda listener: None, lambda problem: None)
    if gone == "panel":
        desk.widget.cleanup()
    else:
        app.send("aboutToQuit()")
    assert window.close()
