"""Drives the module in the real application, which `SLICER` names: the common part of the studies slicer_*.py.

A study calls `run_in_slicer(__file__)` outside of Slicer, which starts it again inside, on a virtual screen where its
launcher makes one; there it takes a `Session`. Without SLICER it says so and ends well.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCAN = ROOT / "Resources" / "SampleData" / "synthetic_T2_brain.nii.gz"
COUNTED = {
    "thresholds": [1.5, 2.0, 2.5, 3.0, 3.8],
    "counts": [28.0, 6.0, 1.0, 0.3, 0.0],
    "scans": 40,
    "smallest_ml": 0.05,
    "largest": [1.0, 2.5, 3.6, 3.9],
}
"""Expected findings of a model that counted them, as a worker reports them."""


def run_in_slicer(
    study: str, *, profile: Path | None = None, limit_s: float = 900.0, **variables: str
) -> subprocess.CompletedProcess[str] | None:
    """Run a study in Slicer, with freed memory overwritten; None where there is no Slicer.

    Args:
        study: Its file.
        profile: Where Slicer keeps settings and temporary files (on Linux), so that a study neither takes those of the
            user nor changes them; None for a new folder that goes afterwards.
        limit_s: Seconds that it may take.
        variables: Environment variables for it.
    """
    if profile is None:
        with tempfile.TemporaryDirectory() as folder:
            return run_in_slicer(study, profile=Path(folder), limit_s=limit_s, **variables)
    launcher = os.environ.get("SLICER", "")
    if not launcher:
        print("skipped: SLICER does not name the launcher of a Slicer")
        return None
    command = [launcher, "--no-splash", "--additional-module-paths", str(ROOT / "CondDiffusionUAD")]
    own = {"XDG_CONFIG_HOME": profile / "settings", "TMPDIR": profile / "temporary"}
    for path in own.values():
        path.mkdir(exist_ok=True)
    places = {"STUDY_OUTPUT": str(output_folder()), **{name: str(path) for name, path in own.items()}}
    if hasattr(os, "nice"):  # on Linux, what Slicer's background thread takes for itself its main thread gets
        places["SLICER_BACKGROUND_THREAD_PRIORITY"] = str(os.nice(0))
    environment = {**os.environ, "MALLOC_PERTURB_": "165", **places, **variables}
    command += ["--python-script", study]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit_s, check=False)


def output_folder() -> Path:
    """Where a study puts its pictures and figures: STUDY_OUTPUT, or a new folder."""
    folder = Path(os.environ.get("STUDY_OUTPUT") or tempfile.mkdtemp(prefix="slicer-study-"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Session:
    """What a study does inside of Slicer.

    Attributes:
        asked: The questions that dialogs asked.
        answer: The text of the button that answers them, where they have it; else it is their first.
        folder: What is chosen when a folder is asked for.
        failed: The steps that raised.
        computed: The most that this thread itself computed at once in the last `pump`, seconds: what a stall would be
            on a computer that does nothing else.
    """

    def __init__(self) -> None:
        import qt
        import slicer

        self.slicer, self.qt = slicer, qt
        self.output = output_folder()
        self.asked: list[str] = []
        self.answer = self.folder = ""
        self.failed: list[str] = []
        self.computed = 0.0
        self._answering = qt.QTimer()
        self._answering.timeout.connect(self._answer)
        self._answering.start(300)
        window = slicer.util.mainWindow()
        if window is not None:
            window.setGeometry(slicer.app.desktop().screenGeometry())

    @property
    def panel(self) -> Any:
        """The module's panel."""
        return self.slicer.modules.conddiffusionuad.widgetRepresentation().self().panel

    def open(self) -> None:
        """Show the module."""
        self.slicer.util.selectModule("CondDiffusionUAD")

    def pump(self, until: Callable[[], Any] = lambda: False, seconds: float = 1.0) -> tuple[float, float]:
        """Let Slicer work; the seconds that passed and the longest time that handling its events took at once."""
        start = time.monotonic()
        longest = self.computed = 0.0
        while time.monotonic() - start < seconds and not until():
            begun, computed = time.monotonic(), time.thread_time()
            self.slicer.app.processEvents()
            longest = max(longest, time.monotonic() - begun)
            self.computed = max(self.computed, time.thread_time() - computed)
            time.sleep(0.005)
        return round(time.monotonic() - start, 2), round(longest, 3)

    def clock(self, action: Callable[[], Any]) -> tuple[float, float]:
        """Do something and handle the events that it makes; seconds by the clock, and computed by this thread."""
        begun, computed = time.monotonic(), time.thread_time()
        action()
        self.slicer.app.processEvents()
        return round(time.monotonic() - begun, 3), round(time.thread_time() - computed, 3)

    def picture(self, name: str) -> None:
        """Keep what the window shows, once the views have drawn it: on a busy computer that takes a while."""
        for _look in range(20):
            if self.pump(seconds=0.3)[1] < 0.03:
                break
        self.slicer.util.mainWindow().grab().save(str(self.output / f"{name}.png"))

    def erase_half(self) -> None:
        """In the Segment Editor, take the lower half off the first segment, as a hand would."""
        util, scan = self.slicer.util, self.panel.findings.live.nodes.input
        copy = self.slicer.modules.segmenteditor.widgetRepresentation().self().editor.segmentationNode()
        segment = copy.GetSegmentation().GetNthSegmentID(0)
        array = util.arrayFromSegmentBinaryLabelmap(copy, segment, scan)
        array[: int(array.any(axis=(1, 2)).nonzero()[0].mean())] = 0
        util.updateSegmentBinaryLabelmapFromArray(array, copy, segment, scan)

    def step(self, name: str, action: Callable[[], Any]) -> Any:
        """Do something and say what came of it."""
        try:
            result = action()
        except Exception:
            self.failed.append(name)
            self._say(f"FAILED {name}\n{traceback.format_exc()}")
            return None
        self._say(f"OK     {name}: {result}")
        return result

    def end(self) -> None:
        """End Slicer; with 0 when no step failed."""
        print(f"{len(self.failed)} failed", flush=True)
        self.slicer.util.exit(len(self.failed))

    def _say(self, text: str) -> None:
        """Print, and keep beside the pictures, for a study that is broken off."""
        print(text, flush=True)
        with (self.output / "steps.txt").open("a", encoding="utf-8") as steps:
            steps.write(f"{text}\n")

    def _answer(self) -> None:
        widget = self.qt.QApplication.activeModalWidget()  # to look at all windows would take what is measured
        if widget is None:
            return
        if widget.inherits("QMessageBox"):
            self.asked.append(str(widget.text))
            widget.grab().save(str(self.output / f"question_{len(self.asked)}.png"))
            buttons = {str(button.text): button for button in reversed(widget.buttons())}
            buttons.get(self.answer, widget.buttons()[0]).click()
        elif widget.inherits("QFileDialog"):
            self.slicer.util.findChild(widget, "fileNameEdit").text = self.folder
            self.slicer.util.findChild(widget, "buttonBox").button(self.qt.QDialogButtonBox.Open).click()


def is_inside_slicer() -> bool:
    """Whether this runs in Slicer."""
    return "slicer" in sys.modules and hasattr(sys.modules["slicer"], "app")
