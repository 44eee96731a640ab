"""Asks for the uncertainty of a score in the real application, looks at it, and finds it again in a saved scene.

    SLICER=~/Slicer/Slicer STUDY_ENVIRONMENT=/path/bin/python python Testing/studies/slicer_uncertainty.py

STUDY_ENVIRONMENT names a Python with the engine's packages; STUDY_OUTPUT a folder for pictures. Told are why there is
none with the quality *Fast*, what the model's card names as its method, and the values that the volume holds.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from slicer_session import SCAN, Session, is_inside_slicer, output_folder, run_in_slicer


class Uncertainty:
    """The steps, in their order."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ui: Any = None

    def open(self) -> str:
        """The panel over a scan, with the card of the model."""
        from CondDiffusionUADLib.run import UserSettings

        UserSettings.setEnvironmentPython(os.environ["STUDY_ENVIRONMENT"])
        self.session.slicer.util.loadVolume(str(SCAN))
        self.session.open()
        self.ui = self.session.panel.ui
        self.ui.cardButton.click()
        told = self.session.panel.input._card.plainText.splitlines()[0]
        self.session.picture("card")
        self.ui.cardButton.click()
        assert told.startswith("Method: anomaly map combined"), told
        return told

    def choose(self) -> str:
        """It is off; with the quality Fast it cannot be had, and the tool tip says why."""
        ui = self.ui
        ui.advancedSection.collapsed = False
        assert ui.uncertaintyBox.enabled and not ui.uncertaintyBox.checked
        ui.uncertaintyBox.click()
        ui.qualityBox.currentIndex = ui.qualityBox.findData("fast")
        told = str(ui.uncertaintyBox.toolTip)
        assert not ui.uncertaintyBox.enabled and "the quality Fast makes 1" in told, told
        assert not ui.expectedLabel.visible, "counted with other noise levels"
        self.session.picture("fast")
        ui.qualityBox.currentIndex = ui.qualityBox.findData("full")
        assert ui.uncertaintyBox.enabled and ui.uncertaintyBox.checked and ui.expectedLabel.visible
        self.session.picture("wanted")
        return told

    def detect(self) -> str:
        """The heatmap comes first, as ever."""
        self.ui.detectButton.click()
        took, stall = self.session.pump(lambda: not self.session.panel.run.busy, 400)
        nodes = self.session.panel.results.nodes
        assert nodes is not None and nodes.uncertainty is not None, self.ui.messageLabel.text
        assert self.ui.compareBox.currentText == "Scan with heatmap"
        assert json.loads(nodes.report.GetText())["parameters"]["uncertainty"] is True
        self.session.picture("heatmap")
        array = self.session.slicer.util.arrayFromVolume(nodes.uncertainty)
        inside = array[array > 0]
        shares = ", ".join(f"{100 * (inside > limit).mean():.2g} % above {limit}" for limit in (0.1, 0.3, 1.0))
        return f"{self.ui.messageLabel.text}; {took} s, longest stall {stall} s; {shares}; at most {inside.max():.2f}"

    def look(self) -> str:
        """It takes the place of the heatmap, with colors and a legend of its own."""
        box = self.ui.compareBox
        box.currentIndex = box.findData("uncertainty")
        self.session.picture("uncertainty")
        self.ui.heatmapBox.click()
        self.session.picture("uncertainty_off")
        self.ui.heatmapBox.click()
        return str(box.currentText)

    def keep(self) -> str:
        """A saved scene shows it again."""
        slicer, file = self.session.slicer, self.session.output / "scene.mrb"
        assert slicer.util.saveScene(str(file))
        slicer.mrmlScene.Clear(0)
        self.session.pump(seconds=0.5)
        assert slicer.util.loadScene(str(file))
        self.session.pump(seconds=2)
        assert self.session.panel.results.nodes.uncertainty is not None
        assert self.ui.compareBox.currentText == "Scan with uncertainty" and self.ui.uncertaintyBox.checked
        self.session.picture("again")
        return f"{file.stat().st_size / 1e6:.1f} MB"

    def delete(self) -> str:
        """Without it, the heatmap is what is left."""
        slicer = self.session.slicer
        slicer.mrmlScene.RemoveNode(self.session.panel.results.nodes.uncertainty)
        self.session.pump(seconds=1)
        assert self.ui.compareBox.findData("uncertainty") < 0
        self.session.picture("deleted")
        return str(self.ui.compareBox.currentText)


def main() -> int:
    """Run it; Slicer's exit code."""
    folder = output_folder()
    run = run_in_slicer(__file__, STUDY_OUTPUT=str(folder))
    if run is None:
        return 0
    print(run.stdout, f"exit {run.returncode}; pictures in {folder}")
    if run.returncode:
        print(run.stderr[-3000:])
    return run.returncode


if __name__ == "__main__":
    if is_inside_slicer():
        current = Session()
        study = Uncertainty(current)
        for name in ("open", "choose", "detect", "look", "keep", "delete"):
            current.step(name, getattr(study, name))
        current.end()
    else:
        sys.exit(main())
