"""Looks whether what is needed next is seen without scrolling, in the real application on the screen of a laptop.

    SLICER=~/Slicer/Slicer python Testing/studies/slicer_room.py [1366x768 ...]

A fake worker stands in for the detection, so that every state of the panel comes within seconds; STUDY_OUTPUT names a
folder for pictures of them. The mouse is over a view in some, for then Data Probe takes more of the room.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from slicer_session import COUNTED, ROOT, Session, is_inside_slicer, output_folder, run_in_slicer

WORKER = ROOT / "Testing" / "helpers" / "fake_worker.py"
LONG = "It holds only a few values, as a mask or a map of labels does, and not the intensities of a scan. " * 4
TO_DECIDE = ("sensitivitySlider", "findingsTable", "acceptButton", "rejectButton", "undoButton")


class Room:
    """The steps, in their order."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ui: Any = None

    def worker(self, *mode: str) -> None:
        """From now on, the fake worker does this."""
        from CondDiffusionUADLib.run import Application
        from CondDiffusionUADLib.run.ChildProcess import Launch

        launch = Launch(os.environ["STUDY_ENVIRONMENT"], (str(WORKER), *mode))
        Application.engineLaunch = lambda *_: launch
        self.session.panel.logic.renewWorker()

    def detect(self, *mode: str) -> None:
        """Click and wait for the end."""
        self.worker(*mode)
        self.ui.detectButton.click()
        self.session.pump(lambda: not self.session.panel.run.busy, 120)
        assert not self.session.panel.run.busy

    def see(self, name: str, *needed: str) -> str:
        """Take a picture; what is needed has to be seen in it."""
        qt, session = self.session.qt, self.session
        session.picture(name)
        area = self.ui.detectButton.parent()
        while not area.inherits("QScrollArea"):
            area = area.parent()
        viewport, unseen = area.viewport(), []
        for wanted in needed:
            widget = getattr(self.ui, wanted)
            top = widget.mapTo(viewport, qt.QPoint(0, 0)).y()
            if not widget.visible or top < 0 or top + widget.height > viewport.height:
                unseen.append(f"{wanted} at {top}, {widget.height} high")
        assert not unseen, f"not seen within {viewport.height} pixels: {unseen}"
        return f"{name} ({viewport.height})"

    def hover(self) -> None:
        """The mouse is over a view."""
        view = self.session.slicer.app.layoutManager().sliceWidget("Red").sliceView()
        interactor = view.interactorStyle().GetInteractor()
        interactor.SetEventInformation(view.width // 2, view.height // 2)
        for event in ("EnterEvent", "MouseMoveEvent"):
            interactor.InvokeEvent(event)
        self.session.pump(seconds=0.5)

    def begin(self) -> str:
        """An empty scene; then a scan, and no environment."""
        from CondDiffusionUADLib.run import UserSettings

        session = self.session
        session.open()
        self.ui = session.panel.ui
        told = [self.see("empty", "sampleButton", "inputSelector", "detectButton")]
        self.ui.sampleButton.click()
        told.append(self.see("scan", "inputSelector", "contrastBox", "detectButton"))
        session.answer = "Cancel"
        self.ui.advancedSection.collapsed = False
        self.ui.detectButton.click()
        assert session.asked
        told.append(self.see("no_environment", "messageLabel"))
        UserSettings.setEnvironmentPython(os.environ["STUDY_ENVIRONMENT"])
        return ", ".join(told)

    def fail(self) -> str:
        """With everything open above it, a run is canceled, and one is refused at length."""
        ui, session = self.ui, self.session
        self.worker("patient")
        ui.cardButton.click()
        session.pump(seconds=0.5)
        ui.detectButton.click()
        told = [self.see("running", "stageLabel", "progressBar", "cancelButton")]
        ui.cancelButton.click()
        session.pump(lambda: not session.panel.run.busy, 20)
        told.append(self.see("canceled", "messageLabel"))
        self.detect("error", "label_map", LONG + "Or go on with --accept-any-scan: then its values are intensities.")
        told.append(self.see("refused", "messageLabel", "anywayButton"))
        ui.cardButton.click()
        ui.advancedSection.collapsed = True
        return ", ".join(told)

    def read(self) -> str:
        """A result, the mouse over a view, details, decisions, many candidates, and none."""
        ui = self.ui
        self.detect("several", json.dumps({"expected_findings": COUNTED}))
        told = [self.see("found", "messageLabel", "compareBox", *TO_DECIDE)]
        self.hover()
        told.append(self.see("hovered", *TO_DECIDE))
        ui.detailsButton.click()
        told.append(self.see("details", "detailsLabel", "acceptButton", "rejectButton", "undoButton"))
        ui.detailsButton.click()
        for button, name in ((ui.rejectButton, "rejected"), (ui.acceptButton, "accepted"), (ui.undoButton, "undone")):
            button.click()
            told.append(self.see(name, *TO_DECIDE))
        ui.minVolumeBox.value = 90
        told.append(self.see("nothing", "messageLabel", "findingsLabel", "sensitivitySlider"))
        ui.minVolumeBox.value = 0.05
        return ", ".join(told)

    def edit(self) -> str:
        """By hand, and with Scan and More opened."""
        ui = self.ui
        ui.scanSection.collapsed = ui.moreSection.collapsed = False
        ui.editButton.click()
        self.session.pump(seconds=1)
        self.session.erase_half()
        self.session.picture("editor")
        self.session.open()
        self.session.pump(seconds=0.5)
        assert "by hand" in ui.findingsLabel.text and ui.acceptButton.enabled
        told = [self.see("edited", "findingsLabel", "acceptButton", "rejectButton", "undoButton", "findingsTable")]
        ui.moreSection.collapsed = True
        ui.advancedSection.collapsed = False
        self.session.pump(seconds=0.5)
        ui.nextButton.click()
        told.append(self.see("opened", "acceptButton", "rejectButton", "undoButton", "findingsTable"))
        ui.scanSection.collapsed = ui.advancedSection.collapsed = True
        return ", ".join(told)

    def move(self) -> str:
        """The scan is moved away."""
        slicer = self.session.slicer
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
        matrix = slicer.util.arrayFromTransformMatrix(transform)
        matrix[0, 3] = 40
        slicer.util.updateTransformMatrixFromArray(transform, matrix)
        self.session.panel.findings.live.nodes.input.SetAndObserveTransformNodeID(transform.GetID())
        told = self.see("moved", "findingsLabel", "followButton", "acceptButton", "rejectButton", "undoButton")
        self.ui.followButton.click()
        return told

    def doubt(self) -> str:
        """A second result, with its uncertainty; the panel begins where it is said to be for research only."""
        self.ui.scanSection.collapsed = self.ui.advancedSection.collapsed = False
        self.ui.uncertaintyBox.click()
        self.detect("several", json.dumps({"expected_findings": COUNTED}))
        self.ui.compareBox.currentIndex = self.ui.compareBox.findData("uncertainty")
        return self.see("uncertainty", "disclaimerLabel", "messageLabel", "compareBox", "heatmapBox", *TO_DECIDE)

    def load(self) -> str:
        """A scene that was saved."""
        slicer, file = self.session.slicer, self.session.output / "scene.mrb"
        assert slicer.util.saveScene(str(file))
        self.ui.advancedSection.collapsed = True
        slicer.mrmlScene.Clear(0)
        self.session.pump(seconds=0.5)
        told = [self.see("cleared", "sampleButton", "detectButton")]
        assert slicer.util.loadScene(str(file))
        self.session.pump(lambda: self.session.panel.findings.live is not None, 20)
        self.ui.nextButton.click()
        buttons = [name for name in TO_DECIDE if name != "findingsTable"]  # Data Probe may cut its last row
        told.append(self.see("loaded", *buttons))
        return ", ".join(told)


def inside() -> None:
    """The steps in Slicer."""
    session = Session()
    room = Room(session)
    for name in ("begin", "fail", "read", "edit", "doubt", "load", "move"):
        session.step(name, getattr(room, name))
    session.end()


def main(screens: list[str]) -> int:
    """Look on each screen; the number of runs that went wrong."""
    wrong, environment = 0, os.environ.get("STUDY_ENVIRONMENT", sys.executable)
    for screen in screens or ["1366x768"]:
        folder = str(output_folder() / screen)
        given = {"SLICER_SCREEN": f"{screen}x24", "STUDY_OUTPUT": folder, "STUDY_ENVIRONMENT": environment}
        run = run_in_slicer(__file__, **given)
        if run is None:
            return 0
        lines = [line for line in run.stdout.splitlines() if line.startswith(("OK", "FAILED", "Assert", " "))]
        print("\n".join(lines), f"\n== {screen}: exit {run.returncode}; pictures in {folder}")
        wrong += run.returncode != 0
    return wrong


if __name__ == "__main__":
    if is_inside_slicer():
        inside()
    else:
        sys.exit(main(sys.argv[1:]))
