"""Detects with the usual model in the real application, slides to few false findings, and quits in a last run.

    SLICER=~/Slicer/Slicer STUDY_ENVIRONMENT=/path/bin/python python Testing/studies/slicer_learned.py

STUDY_ENVIRONMENT names a Python with the engine's packages; STUDY_OUTPUT a folder for pictures. Told are what the
slider says, what the other shipped models find, and what is left of Slicer's processes after *Quit* was answered in a
detection.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from slicer_session import SCAN, Session, is_inside_slicer, output_folder, run_in_slicer

LEFT = "quit.json"


class Learned:
    """The steps, in their order."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ui: Any = None

    def choose(self) -> str:
        """The model, for a scan that is there."""
        from CondDiffusionUADLib.run import UserSettings

        UserSettings.setEnvironmentPython(os.environ["STUDY_ENVIRONMENT"])
        self.session.slicer.util.loadVolume(str(SCAN))
        self.session.open()
        self.ui = self.session.panel.ui
        box = self.ui.bundleBox
        self.session.pump(seconds=1)
        self.session.picture("chosen")
        assert box.currentText == "learned", "nobody has to choose it"
        assert self.ui.expectedLabel.visible and self.ui.detectButton.enabled
        return f"{box.currentText}; {self.words()}"

    def detect(self) -> str:
        """With it, at what it usually promises."""
        self.ui.detectButton.click()
        took, stall = self.session.pump(lambda: not self.session.panel.run.busy, 400)
        self.session.picture("found")
        assert self.ui.expectedLabel.visible, self.ui.messageLabel.text
        return f"{self.ui.messageLabel.text}; {took} s, longest stall {stall} s; {self.words()}"

    def slide(self) -> str:
        """From many false findings to the fewest."""
        slider, told = self.ui.sensitivitySlider, []
        for value in (slider.minimum, 200, 300, 400, slider.maximum):
            took = self.session.clock(lambda value=value: setattr(slider, "value", value))
            self.session.pump(seconds=0.5)
            told.append(f"{self.words()}, {self.ui.messageLabel.text} ({took[0]} s)")
        self.session.picture("fewest")
        fewest = self.ui.expectedLabel.text
        assert slider.maximum > 400 and ("about 0." in fewest or "fewer than" in fewest)
        return "\n       ".join(told)

    def words(self) -> str:
        """What the slider says."""
        return f"{self.ui.sensitivitySlider.value / 100:.2f}: {self.ui.expectedLabel.text}"

    def others(self) -> str:
        """With each other model that is shipped; in the end the usual one is chosen again."""
        box, told = self.ui.bundleBox, []
        for index in [*range(1, box.count), 0]:
            box.currentIndex = index
            self.session.pump(seconds=0.5)
            told.append(f"{box.currentText}; {self.words()}; {self.ui.sensitivityLabel.text}")
            if index:
                self.ui.detectButton.click()
                took, _ = self.session.pump(lambda: not self.session.panel.run.busy, 400)
                self.session.picture(box.currentText)
                told[-1] += f"; {self.ui.messageLabel.text}; {took} s"
        assert "published-map" in " ".join(told) and box.currentText == "learned"
        return "\n       ".join(told)

    def quit(self) -> str:
        """In a last detection."""
        session = self.session
        self.ui.detectButton.click()
        session.pump(lambda: "Reconstructing" in self.ui.stageLabel.text, 240)
        assert session.panel.run.busy
        children = descendants(os.getpid())
        session.answer = "Quit"
        session._answering.timeout.connect(self.discard)
        (session.output / LEFT).write_text(json.dumps({"children": children, "at": time.time()}))
        session.slicer.util.mainWindow().close()
        return f"{len(children)} processes; asked {session.asked}"

    def discard(self) -> None:
        """Of what Slicer asks about unsaved data, nothing is kept."""
        if self.session.asked and "not finished" in self.session.asked[-1]:
            self.session.answer = "Exit (discard modifications)"


def descendants(process: int) -> list[int]:
    """The processes that a process and its children started (Linux)."""
    children = Path(f"/proc/{process}/task").glob("*/children")
    found = [int(child) for path in children for child in path.read_text().split()]
    return found + [below for child in found for below in descendants(child)]


def main() -> int:
    """Run it; the number of things that went wrong."""
    folder = output_folder()
    run = run_in_slicer(__file__, STUDY_OUTPUT=str(folder))
    if run is None:
        return 0
    told = json.loads((folder / LEFT).read_text())
    left = [child for child in told["children"] if Path(f"/proc/{child}").exists()]
    after = time.time() - told["at"]
    print(run.stdout, f"exit {run.returncode}, {after:.1f} s after it was closed; left: {left} of {told['children']}")
    if run.returncode:
        print(run.stderr[-3000:])
    return len(left) + ("FAILED" in run.stdout) + (not told["children"]) + (run.returncode != 0)


if __name__ == "__main__":
    if is_inside_slicer():
        current = Session()
        learned = Learned(current)
        for name in ("choose", "detect", "slide", "others", "quit"):
            current.step(name, getattr(learned, name))
        if current.failed:
            current.end()
    else:
        sys.exit(main())
