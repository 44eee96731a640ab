"""Reading a result as a radiologist does: keys, decisions, what stays chosen, what is said."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from desk import Desk
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from standin.qt_module import show_properties

show_properties(sys.modules[__name__])


@pytest.fixture
def desk(desk: Desk) -> Desk:
    """A result with four findings."""
    desk.detect()
    return desk


def press(desk: Desk, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    """Press a key where the keyboard is."""
    import qt

    desk.widget.parent.activateWindow()
    desk.wait(lambda: desk.widget.parent.isActiveWindow, 5)
    QTest.keyClick(qt.QApplication.focusWidget() or desk.widget.parent, key, modifier)


def statuses(desk: Desk) -> list[str]:
    return [finding.status for finding in desk.panel.findings.live.selection.findings]


def test_the_result_is_said_in_words_and_the_table_is_seen(desk: Desk) -> None:
    ui = desk.ui
    assert desk.message.startswith("4 candidates, ") and desk.message.endswith(" ml; 1 warning")
    assert not ui.detailsLabel.visible
    ui.detailsButton.click()
    assert ui.detailsLabel.visible and ui.detailsLabel.text == "\u2022 A warning. A hint."
    assert ui.scanSection.collapsed and not ui.resultSection.collapsed
    assert desk.finding.number == 1 and desk.widget.parent.focusWidget() is ui.findingsTable
    assert [ui.findingsTable.item(0, column).text() for column in (0, 1, 3)] == ["1", "", "30.0"]
    assert ui.findingsTable.item(1, 3).text() == "3.5"
    assert ui.findingsTable.item(0, 5).text().count(", ") == 2
    assert f"slice {desk.finding.slice}" in ui.findingsTable.item(0, 5).toolTip()


def test_places_are_written_as_the_views_write_them() -> None:
    from CondDiffusionUADLib.panel.FindingsView import place

    assert place((25.4, 38.6, 24.0)) == "R 25, A 39, S 24" and place((-0.4, -0.6, -12.0)) == "R 0, P 1, I 12"


def test_keys_choose_and_decide(desk: Desk) -> None:
    press(desk, Qt.Key.Key_N)
    assert desk.finding.number == 2
    press(desk, Qt.Key.Key_P)
    press(desk, Qt.Key.Key_P)
    assert desk.finding.number == 1
    press(desk, Qt.Key.Key_A)
    assert statuses(desk) == ["accepted", "open", "open", "open"] and desk.finding.number == 2, "on to the next"
    press(desk, Qt.Key.Key_X)
    assert statuses(desk)[:2] == ["accepted", "rejected"] and desk.finding.number == 3
    press(desk, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert statuses(desk)[1] == "open" and desk.finding.number == 2, "back to what was undone"
    press(desk, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    assert statuses(desk)[1] == "rejected"
    press(desk, Qt.Key.Key_U)
    assert statuses(desk)[1] == "open"
    assert "(1 accepted)" in desk.message
    press(desk, Qt.Key.Key_H)
    assert not desk.ui.heatmapBox.checked
    press(desk, Qt.Key.Key_C)
    assert desk.ui.flickerButton.checked
    assert "Key: A" in desk.ui.acceptButton.toolTip and "A/X/U" in desk.ui.keysLabel.text


def test_keys_do_not_disturb_those_who_write_or_work_elsewhere(desk: Desk) -> None:
    box = desk.ui.minVolumeBox
    desk.ui.moreSection.collapsed = False
    desk.widget.parent.activateWindow()
    box.setFocus()
    press(desk, Qt.Key.Key_A)
    assert statuses(desk)[0] == "open", "a letter that is written is no decision"
    desk.ui.findingsTable.setFocus()
    desk.panel._widget.hide()
    press(desk, Qt.Key.Key_A)
    assert statuses(desk)[0] == "open", "another module is shown"
    desk.panel._widget.show()
    press(desk, Qt.Key.Key_A)
    assert statuses(desk)[0] == "accepted"


def test_a_decision_may_stay_where_it_is(desk: Desk) -> None:
    desk.ui.advanceBox.checked = False
    desk.ui.acceptButton.click()
    assert desk.finding.number == 1 and statuses(desk)[0] == "accepted"


def test_after_the_last_finding_the_first_open_one_comes(desk: Desk) -> None:
    desk.ui.findingsTable.selectRow(3)
    desk.ui.rejectButton.click()
    assert desk.finding.number == 1
    for _ in range(3):
        desk.ui.rejectButton.click()
    assert statuses(desk) == ["rejected"] * 4 and desk.message.startswith("0 candidates, 0.0 ml (4 rejected)")


def test_the_chosen_finding_stays_chosen_while_the_slider_moves(desk: Desk) -> None:
    ui = desk.ui
    ui.findingsTable.selectRow(1)
    peak = desk.finding.peak
    ui.sensitivitySlider.value = 320
    assert ui.findingsTable.rowCount == 2 and desk.finding.peak == peak and ui.acceptButton.enabled
    ui.sensitivitySlider.value = 380
    assert desk.finding is None and not ui.acceptButton.enabled and ui.findingsTable.selectedItems() == []
    ui.sensitivitySlider.value = 200
    assert desk.finding.peak == peak and ui.findingsTable.currentRow() == 1


def test_a_dragged_slider_is_followed_exactly_when_it_rests(desk: Desk) -> None:
    ui, live = desk.ui, desk.panel.findings.live
    ui.sensitivitySlider.sliderDown = True
    ui.sensitivitySlider.value = 380
    assert live.threshold == pytest.approx(3.8) and ui.findingsTable.rowCount == 4, "the heatmap goes ahead"
    desk.wait(lambda: ui.findingsTable.rowCount == 1, 5)
    ui.sensitivitySlider.sliderDown = False
    assert ui.findingsTable.rowCount == 1 and desk.message.startswith("1 candidate, ")


def test_nothing_found_does_not_mean_healthy(desk: Desk) -> None:
    desk.ui.minVolumeBox.value = 50
    assert desk.message.startswith("Nothing of 50 ml or more above the threshold")
    assert desk.ui.findingsLabel.text.startswith("The largest score is 30.0. That nothing was found")
    assert desk.ui.findingsLabel.visible and "does not mean" in desk.ui.findingsLabel.text


def test_the_overview_is_shown_and_saved(desk: Desk, tmp_path: Path) -> None:
    import qt

    desk.ui.overviewButton.click()
    dialog = desk.panel.export._overview.dialog
    assert dialog.visible
    qt.QFileDialog.answers = [str(tmp_path / "page")]
    dialog.findChild(qt.QPushButton).click()
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    desk.ui.findingsTable.selectRow(1)
    desk.panel._show(None)
    assert desk.panel.export._overview.dialog is None and not desk.ui.overviewButton.enabled


def test_the_brain_is_shown_around_the_findings_of_the_chosen_result_only(desk: Desk) -> None:
    from CondDiffusionUADLib.scene.BrainSurface import brainSurfaceOf

    def shown(nodes: Any) -> bool:
        surface = brainSurfaceOf(nodes)
        return surface is not None and bool(surface.GetDisplayNode().GetVisibility())

    first = desk.panel.findings.live.nodes
    desk.ui.brainBox.checked = True
    desk.wait(lambda: shown(first), 10)
    desk.detect()
    second = desk.panel.findings.live.nodes
    desk.wait(lambda: shown(second), 10)
    assert second.heatmap is not first.heatmap and not shown(first)
    desk.ui.brainBox.checked = False
    assert not shown(second)


def test_slicers_own_button_shows_the_findings_in_3d(desk: Desk) -> None:
    button, live = desk.panel.findings._button, desk.panel.findings.live
    assert button.segmentationNode() is live.nodes.segmentation
    button.click()
    assert live.shownInThreeD
    desk.ui.sensitivitySlider.value = 250
    assert not live.shownInThreeD, "surfaces take longer than a slider may"
    desk.wait(lambda: live.shownInThreeD, 5)


def test_results_of_one_scan_are_told_apart(desk: Desk) -> None:
    desk.detect()
    titles = desk.texts(desk.ui.detectionBox)
    assert len(titles) == len(set(titles)) == 2
    desk.ui.acceptButton.click()
    desk.ui.detectionBox.currentIndex = 0
    desk.wait(lambda: desk.panel.findings.live is not None)
    assert statuses(desk) == ["open"] * 4 and not desk.ui.undoButton.enabled


def test_three_views_beside_each_other_do_not_widen_the_window(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar above each of Slicer's views asks for 330 pixels, too many for three of them beside a panel."""
    import qt
    import slicer

    window, views = qt.QWidget(), {name: qt.QWidget() for name in ("Red", "Yellow", "Green")}
    row = qt.QHBoxLayout(window)
    for view in views.values():
        row.addWidget(view)
        bar = qt.QWidget()
        bar.minimumWidth = 330
        qt.QHBoxLayout(view).addWidget(bar)
    asked = window.minimumSizeHint.width()
    layouts = SimpleNamespace(sliceViewNames=lambda: tuple(views), sliceWidget=views.__getitem__)
    monkeypatch.setattr(slicer.app, "layoutManager", lambda: layouts)
    desk.ui.compareBox.currentIndex = desk.ui.compareBox.findData("threeUp")
    assert asked >= 990 and window.minimumSizeHint.width() <= 1366 - 436
