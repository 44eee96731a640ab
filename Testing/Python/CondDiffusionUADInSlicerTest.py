"""Tests that Slicer itself runs: the panel in the real application, with a worker that needs no packages.

By ctest, or by hand:

    Slicer --testing --no-splash --no-main-window --additional-module-paths CondDiffusionUAD \\
        --python-script Testing/Python/CondDiffusionUADInSlicerTest.py

`Testing/module` runs the same with the stand-in for the application.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
from vtk.util import numpy_support

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
FAKE_WORKER = HELPERS / "fake_worker.py"
STALL_MS = 200
SLIDE_MS = 100


def fairClock() -> Callable[[], float]:
    """A clock: the real one, or, where other programs keep the processors busy, that of what this thread computes."""
    crowded = hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1) + 0.5
    return time.thread_time if crowded else time.perf_counter


def waitUntil(condition: Callable[[], Any], seconds: float = 60.0) -> float:
    """Wait in the event loop for a condition; returns the longest time the loop was away, in milliseconds."""
    loop, timer = qt.QEventLoop(), qt.QTimer()
    counting = fairClock()
    state = {"longest": 0.0, "last": counting(), "begin": time.perf_counter()}

    def tick() -> None:
        now = counting()
        state["longest"] = max(state["longest"], 1000 * (now - state["last"]))
        state["last"] = now
        if condition() or time.perf_counter() - state["begin"] > seconds:
            loop.quit()

    timer.timeout.connect(tick)
    timer.start(5)
    loop.exec()
    timer.stop()
    if not condition():
        raise AssertionError(f"not within {seconds} s")
    return state["longest"]


def makeScan(name: str) -> Any:
    """A volume of random voxels in the scene."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(40, 36, 32)
    voxels = np.random.default_rng(0).normal(300, 50, 40 * 36 * 32).astype(np.int16)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(voxels, deep=True))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetSpacing(2.0, 2.5, 3.0)
    node.SetOrigin(-40.0, 30.0, 12.5)
    node.SetAndObserveImageData(image)
    node.CreateDefaultDisplayNodes()
    return node


class CondDiffusionUADInSlicerTest(unittest.TestCase):
    """The panel, from click to export."""

    def setUp(self) -> None:
        """A scene with one scan, and the panel."""
        if str(HELPERS) not in sys.path:
            sys.path.append(str(HELPERS))
        from fake_installer import FakeInstaller

        from CondDiffusionUADLib.panel.Widget import Panel
        from CondDiffusionUADLib.run import Application
        from CondDiffusionUADLib.run.ChildProcess import Launch
        from CondDiffusionUADLib.run.EngineLaunch import slicersPythonLaunch

        slicer.mrmlScene.Clear(0)
        self.before = set(os.listdir(slicer.app.temporaryPath))
        self.scan = makeScan("scan_T1")
        self.mode = ("ok",)
        program = slicersPythonLaunch("").program
        self.application, self.engineLaunch = Application, Application.engineLaunch
        Application.engineLaunch = lambda *arguments: Launch(program, (str(FAKE_WORKER), *self.mode))
        from CondDiffusionUAD import CondDiffusionUADLogic

        self.parent = qt.QWidget()
        layout = qt.QVBoxLayout(self.parent)
        self.panel = Panel(layout, CondDiffusionUADLogic(), FakeInstaller())
        self.ui = self.panel.ui
        self.folder = Path(tempfile.mkdtemp())

    def tearDown(self) -> None:
        """Nothing is left behind."""
        self.panel.close()
        self.application.engineLaunch = self.engineLaunch
        self.parent.deleteLater()
        shutil.rmtree(self.folder)
        left = {name for name in os.listdir(slicer.app.temporaryPath) if name.startswith("CondDiffusionUAD-")}
        self.assertEqual(left - self.before, set())
        slicer.mrmlScene.Clear(0)

    def detect(self, *mode: str) -> float:
        """Click, and wait for the end; returns the longest stall in milliseconds."""
        self.mode = mode
        self.ui.detectButton.click()
        return waitUntil(lambda: not self.panel.run.busy)

    def test_panelIsReady(self) -> None:
        self.assertEqual(self.ui.inputSelector.currentNode(), self.scan)
        self.assertEqual(self.ui.contrastBox.currentText, "T1")
        self.assertTrue(self.ui.detectButton.enabled)
        self.assertIn("not a medical device", self.ui.disclaimerLabel.text)
        self.assertTrue(self.ui.advancedSection.collapsed)

    def test_clickGivesResults(self) -> None:
        stall = self.detect("ok")
        self.assertIn("1 candidate, ", self.ui.messageLabel.text)
        self.assertLess(stall, STALL_MS)
        nodes = self.panel.findings.live.nodes
        self.assertEqual(nodes.input, self.scan)
        self.assertEqual(nodes.heatmap.GetImageData().GetDimensions(), (40, 36, 32))
        self.assertEqual(self.ui.findingsTable.rowCount, 1)
        counting = fairClock()
        begin = counting()
        self.ui.sensitivitySlider.value = 390
        self.assertLess(1000 * (counting() - begin), SLIDE_MS)
        self.assertEqual(self.ui.findingsTable.rowCount, 0)
        self.ui.sensitivitySlider.value = 200
        self.ui.findingsTable.selectRow(0)
        self.ui.rejectButton.click()
        self.assertFalse(self.panel.findings.live.numbers().any())

    def test_faultsAreExplained(self) -> None:
        nodes = slicer.mrmlScene.GetNumberOfNodes()
        for mode, words in (
            (("error", "out_of_memory"), "quality Fast"),
            (("exit", "7"), "exit code 7"),
            (("damaged",), "is damaged"),
            (("elsewhere",), "grid"),
        ):
            self.detect(*mode)
            self.assertIn(words, self.ui.messageLabel.text)
            self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), nodes)
            self.panel.logic.renewWorker()

    def test_cancelWorksWithinThreeSeconds(self) -> None:
        for mode in ("patient", "deaf", "stubborn"):
            self.mode = (mode,)
            self.ui.detectButton.click()
            waitUntil(lambda: self.ui.progressBar.value > 0)
            begin = time.perf_counter()
            self.ui.cancelButton.click()
            waitUntil(lambda: not self.panel.run.busy)
            self.assertLess(time.perf_counter() - begin, 3.0)
            self.panel.logic.renewWorker()

    def test_sceneIsClosedMeanwhile(self) -> None:
        self.mode = ("patient",)
        self.ui.detectButton.click()
        waitUntil(lambda: self.ui.progressBar.value > 0)
        slicer.mrmlScene.Clear(0)
        waitUntil(lambda: not self.panel.run.busy, 3)
        self.assertIn("The scene was closed", self.ui.messageLabel.text)

    def test_sceneIsSavedAndLoaded(self) -> None:
        self.detect("ok")
        self.ui.sensitivitySlider.value = 250
        path = str(self.folder / "scene.mrb")
        self.assertTrue(slicer.mrmlScene.WriteToMRB(path))
        slicer.mrmlScene.Clear(0)
        self.assertIsNone(self.panel.findings.live)
        self.assertTrue(slicer.mrmlScene.ReadFromMRB(path, True))
        waitUntil(lambda: self.panel.findings.live is not None)
        self.assertEqual(self.ui.sensitivitySlider.value, 250)
        self.assertEqual(self.ui.findingsTable.rowCount, 1)

    def test_exportedFilesAreThere(self) -> None:
        from CondDiffusionUADLib.scene import Export

        self.detect("ok")
        live = self.panel.findings.live
        for name in ("c.nii.gz", "c.seg.nrrd"):
            Export.writeSegmentation(live, self.folder / name)
            self.assertGreater((self.folder / name).stat().st_size, 100)
        Export.writeFindings(live, self.folder / "findings.csv")
        Export.writeReport(live, self.folder / "report.json")
        report = json.loads((self.folder / "report.json").read_text(encoding="utf-8"))
        self.assertIn("not a medical device", report["statement"])

    def test_terminologyIsKnown(self) -> None:
        from CondDiffusionUADLib.scene.CandidateSegmentation import CONTEXT_NAME, loadTerminology

        logic = slicer.modules.terminologies.logic()
        loadTerminology(logic)
        self.assertTrue(logic.IsTerminologyContextLoaded(CONTEXT_NAME))


if __name__ == "__main__":
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(CondDiffusionUADInSlicerTest)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    slicer.util.exit(slicer.util.EXIT_SUCCESS if result.wasSuccessful() else slicer.util.EXIT_FAILURE)
