"""What is seen without scrolling on a laptop of 1366 x 768 pixels: whatever stands above it, what is needed next."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vtk
from desk import Desk
from mrml_application import MrmlApplication, save_scene
from PySide6.QtCore import QMargins, QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QScrollArea, QVBoxLayout, QWidget
from standin.qt_module import show_properties

show_properties(sys.modules[__name__])

# Measured in Slicer 5.13, with Data Probe opened as it is by default: the least that it leaves to a panel, and where
# the middle of the slider is before a result; what stands above the panel makes up for the rows, which are lower here.
ROOM = (436, 455)
ABOVE = 46
SLIDER_AT = 422
TO_DECIDE = ("sensitivitySlider", "acceptButton", "rejectButton", "undoButton")
LONG = "It holds only a few values, as a mask or a map of labels does, and not the intensities of a scan. " * 4
ANYWAY = "Or go on with --accept-any-scan: then its values are taken as intensities."
Show = Callable[..., Desk]


class Laptop:
    """A panel in Slicer's scroll area.

    Args:
        desk: The panel.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.area = QScrollArea()
        self.area.widgetResizable = True
        content = QWidget()
        column = QVBoxLayout(content)
        column.contentsMargins = QMargins()
        helping = QLabel("Help & Acknowledgement")
        helping.setFixedHeight(ABOVE)
        column.addWidget(helping)
        column.addWidget(desk.widget.parent)
        self.area.setWidget(content)
        self.area.resize(*ROOM)
        self.area.show()
        desk.settle()

    @property
    def ui(self) -> Any:
        """The widgets of the panel by name."""
        return self.desk.ui

    def below(self, *names: str) -> list[str]:
        """Those of the widgets that are not, or not wholly, seen, half a second later at most."""
        for _ in range(25):  # a busy computer lays out and scrolls late
            self.desk.settle()
            unseen = self._unseen(names)
            if not unseen:
                break
        return unseen

    def _unseen(self, names: tuple[str, ...]) -> list[str]:
        viewport, unseen = self.area.viewport(), []
        for name in names:
            widget = getattr(self.ui, name)
            top = widget.mapTo(viewport, QPoint(0, 0)).y()
            if not widget.visible or top < 0 or top + widget.height > viewport.height:
                unseen.append(f"{name} at {top} of {viewport.height}")
        return unseen

    def press(self, key: Qt.Key) -> None:
        """Press a key at the table."""
        self.area.activateWindow()
        self.desk.wait(lambda: self.area.isActiveWindow, 5)
        QTest.keyClick(self.ui.findingsTable, key)

    def close(self) -> None:
        """Give the panel back."""
        self.desk.widget.parent.setParent(None)
        self.area.close()
        self.area.deleteLater()


@pytest.fixture
def show(make_desk: Callable[..., Desk]) -> Iterator[Callable[..., Laptop]]:
    """Shows a panel on a laptop."""
    made: list[Laptop] = []

    def showing(**how: bool) -> Laptop:
        made.append(Laptop(make_desk(**how)))
        return made[-1]

    yield showing
    for laptop in made:
        laptop.close()


@pytest.fixture
def laptop(scan: Any, show: Callable[..., Laptop]) -> Laptop:
    """A panel over the small scan."""
    return show()


@pytest.fixture
def found(laptop: Laptop) -> Laptop:
    """And a result with four findings."""
    laptop.desk.detect()
    laptop.desk.settle()
    return laptop


def test_before_a_detection(show: Callable[..., Laptop]) -> None:
    assert not show().below("sampleButton", "inputSelector", "detectButton")


def test_with_a_scan(laptop: Laptop) -> None:
    assert not laptop.below("inputSelector", "contrastBox", "detectButton", "sensitivitySlider")
    assert laptop.below("findingsTable"), "there is more than has room"
    slider = laptop.ui.sensitivitySlider
    assert abs(slider.mapTo(laptop.area.widget(), QPoint(0, slider.height // 2)).y() - SLIDER_AT) < 10, "as in Slicer"


def test_a_run_with_everything_open_above_it_can_be_canceled(laptop: Laptop) -> None:
    ui = laptop.ui
    ui.advancedSection.collapsed = False
    ui.cardButton.click()
    assert laptop.below("detectButton"), "the card takes the room"
    laptop.desk.panel.logic.renewWorker()
    laptop.desk.worker("patient")
    ui.detectButton.click()
    assert not laptop.below("stageLabel", "progressBar", "cancelButton")
    ui.cancelButton.click()
    laptop.desk.wait(lambda: not laptop.desk.panel.run.busy)
    assert not laptop.below("messageLabel")


def test_a_failure_is_read_and_answered(laptop: Laptop) -> None:
    laptop.ui.advancedSection.collapsed = False
    laptop.desk.detect("error", "label_map", LONG + ANYWAY)
    assert LONG in laptop.desk.message and not laptop.below("messageLabel", "anywayButton")


def test_without_an_environment(scan: Any, show: Callable[..., Laptop], app: Any) -> None:
    import qt

    app.testing = False
    qt.QMessageBox.answers = ["Install"]
    laptop = show(ready=False)
    laptop.ui.advancedSection.collapsed = False
    laptop.desk.settle()  # nobody opens a section and clicks at once
    laptop.ui.detectButton.click()
    assert laptop.desk.installer.calls and not laptop.below("progressBar", "cancelButton")


def test_a_result_is_read_and_decided_about(found: Laptop) -> None:
    ui = found.ui
    assert not found.below("messageLabel", "compareBox", "heatmapBox", "findingsTable", *TO_DECIDE)
    ui.detailsButton.click()
    assert not found.below("detailsLabel", *TO_DECIDE)
    for button in (ui.rejectButton, ui.acceptButton, ui.undoButton, ui.nextButton):
        button.click()
        assert not found.below("findingsTable", *TO_DECIDE), button.text


def test_a_result_with_an_uncertainty(laptop: Laptop) -> None:
    laptop.ui.advancedSection.collapsed = False
    laptop.area.verticalScrollBar().value = 150
    laptop.ui.uncertaintyBox.click()
    laptop.desk.detect()
    laptop.ui.compareBox.currentIndex = laptop.ui.compareBox.findData("uncertainty")
    assert not laptop.below("disclaimerLabel", "compareBox", "heatmapBox", "findingsTable", *TO_DECIDE)
    laptop.ui.compareBox.currentIndex = laptop.ui.compareBox.findData("fade")
    assert not laptop.below("fadeSlider", *TO_DECIDE)


def test_many_findings_scroll_in_the_table(found: Laptop) -> None:
    ui = found.ui
    bottom = ui.findingsTable.height
    for _step in range(3):
        ui.nextButton.click()
    found.desk.settle()
    row = ui.findingsTable.visualItemRect(ui.findingsTable.item(3, 0))
    assert row.bottom() <= ui.findingsTable.viewport().height and ui.findingsTable.height == bottom
    found.area.resize(ROOM[0], 900)
    found.desk.panel.enter()
    found.desk.settle()
    assert ui.findingsTable.height > bottom, "where there is room it is used"


def test_nothing_found_is_explained(found: Laptop) -> None:
    found.ui.minVolumeBox.value = 50
    assert not found.below("messageLabel", "findingsLabel", "sensitivitySlider")


def test_after_the_segment_editor(found: Laptop) -> None:
    live, ui = found.desk.panel.findings.live, found.ui
    copy = live.editableCopy().GetSegmentation()
    labels = copy.GetNthSegment(0).GetRepresentation("Binary labelmap").GetPointData().GetScalars()
    array = np.frombuffer(labels, np.uint8)
    array[: len(array) // 2] = 0
    copy.GetNthSegment(0).GetRepresentation("Binary labelmap").Modified()
    for section in (ui.scanSection, ui.moreSection):
        section.collapsed = False
    bar = found.area.verticalScrollBar()
    for place in (bar.minimum, bar.maximum):
        bar.value = place  # where the Segment Editor was left
        found.desk.panel.enter()
        assert not found.below("findingsLabel", "findingsTable", "acceptButton", "rejectButton", "undoButton")
    assert "by hand" in ui.findingsLabel.text
    assert found.desk.finding is not None and found.desk.finding.edited, "what is left of the chosen one"
    assert ui.acceptButton.enabled


def test_a_moved_scan_is_followed(found: Laptop, mrml: MrmlApplication) -> None:
    transform = mrml.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 40.0)
    transform.SetMatrixTransformToParent(matrix)
    found.desk.panel.findings.live.nodes.input.SetAndObserveTransformNodeID(transform.GetID())
    assert not found.below("findingsLabel", "followButton", *TO_DECIDE)


def test_boxes_that_are_opened_give_way_to_the_next_candidate(found: Laptop) -> None:
    ui = found.ui
    ui.scanSection.collapsed = ui.advancedSection.collapsed = False
    assert found.below("acceptButton"), "whoever opens them wants to see them"
    found.press(Qt.Key.Key_N)
    assert found.desk.finding.number == 2
    assert not found.below("findingsTable", "acceptButton", "rejectButton", "undoButton")


def test_a_loaded_scene(found: Laptop, mrml: MrmlApplication, tmp_path: Path) -> None:
    save_scene(mrml, tmp_path / "scene.mrb")
    found.ui.exportSection.collapsed = False
    found.desk.settle()
    found.area.verticalScrollBar().value = found.area.verticalScrollBar().maximum
    mrml.scene.Clear(False)
    found.desk.settle()
    assert not found.ui.scanSection.collapsed and not found.below("sampleButton", "detectButton")
    assert mrml.scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    found.desk.wait(lambda: found.desk.panel.findings.live is not None)
    assert found.ui.scanSection.collapsed
    found.ui.nextButton.click()
    assert not found.below("findingsTable", *TO_DECIDE)


def test_what_is_said_of_an_export_is_seen(found: Laptop, tmp_path: Path) -> None:
    import qt

    qt.QFileDialog.answers = [str(tmp_path / "report.json")]
    found.ui.exportSection.collapsed = False
    found.desk.settle()
    found.area.verticalScrollBar().value = found.area.verticalScrollBar().maximum
    found.ui.exportReportButton.click()
    assert found.desk.message.startswith("Exported to") and not found.below("messageLabel")
