"""Reads a result in the real application as a radiologist does, and takes the pictures of the README on the way.

    SLICER=~/Slicer/Slicer STUDY_ENVIRONMENT=/path/bin/python python Testing/studies/slicer_reading.py [1366x768 ...]

STUDY_ENVIRONMENT names a Python with the engine's packages; STUDY_OUTPUT a folder for pictures and figures. Each screen
size is a Slicer of its own, with freed memory overwritten. Told are the steps, the longest stalls, and whether slider,
table and buttons are seen without scrolling.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from slicer_session import Session, is_inside_slicer, run_in_slicer

SCREENS = ("1600x1000", "1366x768")
ENOUGH = 4  # candidates to go through
SEEN = ("sensitivitySlider", "findingsTable", "acceptButton", "rejectButton", "undoButton")


class Reading:
    """The steps, in their order."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ui: Any = None
        self.several = 0  # of the slider, where there are several candidates

    def open(self) -> str:
        """An empty scene, and the sample."""
        from CondDiffusionUADLib.run import UserSettings

        UserSettings.setEnvironmentPython(os.environ["STUDY_ENVIRONMENT"])
        begun = time.monotonic()
        self.session.open()
        opened = time.monotonic() - begun
        self.ui = self.session.panel.ui
        assert not self.ui.detectButton.enabled and self.ui.sampleArea.visible
        self.session.picture("empty")
        self.ui.sampleButton.click()
        assert self.ui.detectButton.enabled and not self.ui.sampleArea.visible
        assert self.ui.bundleBox.currentText == "learned", "the usual one"
        return f"{opened:.2f} s"

    def wait(self, condition: Callable[[], Any], seconds: float) -> tuple[float, float]:
        """Wait; returns the longest stall, and how much of one this thread computed."""
        _took, stall = self.session.pump(condition, seconds)
        assert condition(), "not in time"
        return stall, self.session.computed

    def get_ready(self) -> str:
        """The model is loaded while the reader looks at the scan."""
        stall = self.wait(lambda: self.session.panel.logic.workerMegabytes is not None, 240)
        self.session.picture("ready")
        return f"longest stall {told(stall)}; {self.ui.readyLabel.text}"

    def detect(self) -> str:
        """One click; a picture while it runs."""
        begun = time.monotonic()
        self.ui.detectButton.click()
        stalls = [self.wait(lambda: "Reconstructing" in self.ui.stageLabel.text, 240)]
        self.session.picture("running")
        self.keep_open()
        stalls.append(self.wait(lambda: not self.session.panel.run.busy, 400))
        assert "candidate" in self.ui.messageLabel.text and self.ui.scanSection.collapsed
        self.session.picture("found")
        longest = tuple(max(column) for column in zip(*stalls, strict=True))
        return f"{self.ui.messageLabel.text}; {time.monotonic() - begun:.0f} s, longest stall {told(longest)}"

    def loosen(self) -> str:
        """The slider goes to where there are several candidates to go through."""
        slider, findings = self.ui.sensitivitySlider, self.session.panel.findings
        while len(findings.live.selection.findings) < ENOUGH and slider.value > slider.minimum:
            slider.value -= 5
            self.session.pump(seconds=0.1)
        self.several = slider.value
        findings.chooseFirst()
        assert len(findings.live.selection.findings) >= ENOUGH, self.ui.messageLabel.text
        return f"{self.several / 100:.2f}: {self.ui.messageLabel.text}; {self.ui.expectedLabel.text}"

    def keep_open(self) -> None:
        """Slicer is closed in the run, and the reader thinks better of it."""
        session = self.session
        session.answer = "Cancel"
        session.slicer.util.mainWindow().close()
        session.answer = ""
        assert "not finished" in session.asked[-1] and session.slicer.util.mainWindow().visible
        assert session.panel.run.busy

    def see(self) -> str:
        """What belongs to reading is seen without scrolling."""
        qt = self.session.qt
        area = self.ui.detectButton.parent()
        while area is not None and not area.inherits("QScrollArea"):
            area = area.parent()
        bottom = area.mapToGlobal(qt.QPoint(0, area.height)).y()
        below = [
            name
            for name in SEEN
            for widget in (getattr(self.ui, name),)
            if widget.mapToGlobal(qt.QPoint(0, widget.height)).y() > bottom
        ]
        assert not below, f"below the fold: {below}"
        return "all of it"

    def offer(self) -> str:
        """The selector lists the scan and nothing of the module's own."""
        box = self.ui.inputSelector
        names = [box.nodeFromIndex(index).GetName() for index in range(box.nodeCount())]
        assert names == ["Synthetic_T2_brain"], names
        return str(names)

    def press(self, key: int, modifier: int = 0) -> None:
        """Press a key where the keyboard is."""
        qt, slicer = self.session.qt, self.session.slicer
        window = slicer.util.mainWindow()
        window.activateWindow()  # without a window manager nobody else does
        self.wait(lambda: window.isActiveWindow, 20)
        target = slicer.app.focusWidget() or window
        for kind in (qt.QEvent.KeyPress, qt.QEvent.KeyRelease):
            letter = "" if modifier else chr(key).lower()
            qt.QApplication.postEvent(target, qt.QKeyEvent(kind, key, modifier, letter))
        self.session.pump(seconds=0.5)

    def decide(self) -> str:
        """By keys, and back again."""
        qt, findings = self.session.qt, self.session.panel.findings
        for key, number in ((qt.Qt.Key_A, 2), (qt.Qt.Key_X, 3), (qt.Qt.Key_P, 2), (qt.Qt.Key_N, 3)):
            self.press(key)
            assert findings.chosen.number == number, (chr(key), findings.chosen, self.session.slicer.app.focusWidget())
        self.press(qt.Qt.Key_Z, qt.Qt.ControlModifier)
        assert "(1 accepted)" in self.ui.messageLabel.text
        self.press(qt.Qt.Key_Y, qt.Qt.ControlModifier)
        self.session.picture("reviewed")
        return str(self.ui.messageLabel.text)

    def write(self) -> str:
        """Letters that are written in another place are no decisions."""
        qt, slicer = self.session.qt, self.session.slicer
        line = qt.QLineEdit(slicer.util.mainWindow())
        line.show()
        line.setFocus()
        self.session.pump(seconds=0.3)
        before = str(self.ui.messageLabel.text)
        for key in (qt.Qt.Key_A, qt.Qt.Key_X, qt.Qt.Key_U):
            self.press(key)
        text = str(line.text)
        line.hide()
        line.deleteLater()
        assert text == "axu" and str(self.ui.messageLabel.text) == before, (text, slicer.app.focusWidget())
        return text

    def slide(self) -> str:
        """Steps of the sensitivity slider, views drawn."""
        slider, steps = self.ui.sensitivitySlider, []
        for more in (10, 30, 60, 100, 0):
            value = self.several + more
            self.session.pump(seconds=0.3)
            steps.append(self.session.clock(lambda value=value: setattr(slider, "value", value)))
        return f"at most {told(tuple(max(column) for column in zip(*steps, strict=True)))}: {steps}"

    def compare(self) -> str:
        """Heatmap off, flicker, side by side."""
        qt, slicer, findings = self.session.qt, self.session.slicer, self.session.panel.findings
        findings.chooseFirst()
        self.press(qt.Qt.Key_H)
        self.session.picture("no_heatmap")
        self.press(qt.Qt.Key_H)
        self.press(qt.Qt.Key_C)
        assert self.ui.flickerButton.checked
        self.session.picture("flicker")
        self.press(qt.Qt.Key_C)
        box = self.ui.compareBox
        changed = self.session.clock(lambda: setattr(box, "currentIndex", box.findData("threeUp")))
        self.session.picture("compared")
        window, screen = slicer.util.mainWindow().width, slicer.app.desktop().screenGeometry().width()
        assert window == screen, f"the window has {window} pixels of {screen}"
        box.currentIndex = 0
        self.session.pump(seconds=1)
        jumped = self.session.clock(self.ui.nextButton.click)
        self.session.clock(self.ui.previousButton.click)
        return f"three views: {told(changed)}; a jump: {told(jumped)}"

    def drag(self) -> str:
        """A drag with the left button in adjust mode changes the window of the scan, not the scale of the heatmap."""
        slicer, nodes = self.session.slicer, self.session.panel.findings.live.nodes
        before = nodes.input.GetDisplayNode().GetWindow(), nodes.heatmap.GetDisplayNode().GetWindow()
        slicer.app.applicationLogic().GetInteractionNode().SetCurrentInteractionMode(5)  # AdjustWindowLevel
        view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
        interactor = view.interactorStyle().GetInteractor()
        x, y = view.width // 2, view.height // 2
        interactor.SetEventInformation(x, y)
        interactor.LeftButtonPressEvent()
        for step in range(1, 20):
            interactor.SetEventInformation(x + 4 * step, y)
            interactor.MouseMoveEvent()
        interactor.LeftButtonReleaseEvent()
        slicer.app.applicationLogic().GetInteractionNode().SetCurrentInteractionMode(2)  # ViewTransform
        after = nodes.input.GetDisplayNode().GetWindow(), nodes.heatmap.GetDisplayNode().GetWindow()
        assert after[0] != before[0] and after[1] == before[1], (before, after)
        nodes.input.GetDisplayNode().SetWindow(before[0])
        return f"window of the scan {before[0]:g} to {after[0]:g}, of the heatmap {after[1]:g}"

    def edit(self) -> str:
        """By hand, and back: what was erased is not lost to a decision or the slider."""
        before = self.session.panel.findings.live.selection.findings[0].volumeMl
        self.ui.moreSection.collapsed = False
        self.ui.editButton.click()
        self.session.pump(seconds=1)
        self.session.erase_half()
        self.session.picture("edited")
        self.session.open()
        self.session.pump(seconds=1)
        edited = self.session.panel.findings.live.selection.findings[0].volumeMl
        self.ui.sensitivitySlider.value = self.several + 20
        self.ui.sensitivitySlider.value = self.several
        kept = self.session.panel.findings.live.selection.findings[0].volumeMl
        assert edited < 0.9 * before and abs(kept - edited) < 0.2 * edited, (before, edited, kept)
        assert "by hand" in self.ui.findingsLabel.text
        self.see()
        return f"{before:.2f}, then {edited:.2f} ml, after the slider {kept:.2f} ml"

    def show_in_3d(self) -> str:
        """Candidates and brain."""
        self.ui.brainBox.checked = True
        button = self.session.panel.findings._button
        button.toggle()  # a click by a program would open the menu that is behind its arrow
        _took, stall = self.session.pump(seconds=3)
        stall = stall, self.session.computed
        self.session.picture("3d")
        self.ui.brainBox.checked = False
        button.toggle()
        return f"longest stall {told(stall)}"

    def delete(self) -> str:
        """Without the scan, no other volume is chosen; without a scene, nothing is said."""
        slicer = self.session.slicer
        slicer.mrmlScene.RemoveNode(self.ui.inputSelector.currentNode())
        self.session.pump(seconds=0.5)
        assert self.ui.inputSelector.currentNode() is None and not self.ui.detectButton.enabled
        slicer.mrmlScene.Clear(0)
        self.session.pump(seconds=0.5)
        assert not self.ui.messageLabel.visible and self.ui.findingsLabel.text == "No detection yet."
        self.session.picture("cleared")
        return "nothing left"


def told(stall: tuple[float, ...]) -> str:
    """How long something took, for people."""
    return f"{stall[0]:.3f} s, of which computing {stall[1]:.3f} s"


def read(session: Session) -> None:
    """All steps."""
    reading = Reading(session)
    steps = "open get_ready detect loosen see offer decide write slide compare drag edit show_in_3d delete"
    for name in steps.split():
        session.step(name, getattr(reading, name))
    session.end()


def main(screens: list[str]) -> int:
    """Read on each screen; the number of readings that went wrong."""
    wrong = 0
    for screen in screens or list(SCREENS):
        folder = Path(os.environ.get("STUDY_OUTPUT", "build/slicer_reading")).resolve() / screen
        done = run_in_slicer(__file__, limit_s=1500, SLICER_SCREEN=f"{screen}x24", STUDY_OUTPUT=str(folder))
        if done is None:
            return 0
        wrong += done.returncode != 0
        print(f"== {screen}: exit {done.returncode}, pictures in {folder}\n{done.stdout}", flush=True)
        if done.returncode:
            print(done.stderr[-3000:])
    return wrong


if __name__ == "__main__":
    if is_inside_slicer():
        read(Session())
    else:
        sys.exit(main(sys.argv[1:]))
