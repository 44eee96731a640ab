"""The module as Slicer sees it: what it is, its panel, its logic and its tests. All else is in CondDiffusionUADLib."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class CondDiffusionUAD(ScriptedLoadableModule):
    """Title, place in the menu and texts of the module."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        parent.title = _("Brain Anomaly Detection")
        parent.categories = [
            translate("qSlicerAbstractCoreModule", "Segmentation"),
            translate("qSlicerAbstractCoreModule", "Neuroimaging"),
        ]
        parent.dependencies = ["Colors", "Segmentations", "Terminologies", "Volumes"]
        parent.contributors = ["CondDiffusionUAD contributors"]
        # Texts stand inside the call, so that the translators' tool finds them.
        parent.helpText = _("""Finds what does not look healthy in a T1, T2 or FLAIR brain MRI: it makes a heatmap, a
segmentation, a reconstruction of how a healthy brain would look, and a table of candidates. Nobody has ever shown the
model a lesion. <a href="https://github.com/conddiffusion-uad/SlicerCondDiffusionUAD#tutorial">Tutorial and
documentation</a>.<br><br><b>Research use only, not a medical device.</b> What it marks are candidates for a human to
look at, not diagnoses; what it does not mark is not thereby healthy. Nothing leaves the computer.""")
        parent.acknowledgementText = _("""The method is that of F. Behrendt, D. Bhattacharya, R. Mieling, L. Maack,
J. Krüger, R. Opfer and A. Schlaefer: Guided Reconstruction with Conditioned Diffusion Models for Unsupervised Anomaly
Detection in Brain MRIs. Computers in Biology and Medicine 186, 109660, 2025
(<a href="https://arxiv.org/abs/2312.04215">arXiv:2312.04215</a>). Please cite it. This is an independent implementation
under the Apache License 2.0; the models are under CC BY-SA 4.0.""")
        # Installed, the icon lies beside the module, where it is found without our help; in a checkout it does not.
        icon = Path(__file__).resolve().parents[1] / "Resources" / "Icons" / "CondDiffusionUAD.png"
        if icon.is_file():
            parent.icon = qt.QIcon(str(icon))
        slicer.app.connect("startupCompleted()", self.onStartupCompleted)

    def onStartupCompleted(self) -> None:
        """Make sample data and terminology known; remove what a Slicer that crashed left. Nothing is downloaded."""
        from CondDiffusionUADLib.run.Folders import sweep
        from CondDiffusionUADLib.scene.CandidateSegmentation import loadTerminology
        from CondDiffusionUADLib.scene.SampleData import registerSampleData

        with suppress(ImportError):  # the Sample Data module may be switched off
            registerSampleData()
        loadTerminology(slicer.modules.terminologies.logic())
        sweep(slicer.app.temporaryPath)


class CondDiffusionUADWidget(ScriptedLoadableModuleWidget):
    """The panel; see `CondDiffusionUADLib.panel.Widget`."""

    def setup(self) -> None:
        """Make the panel."""
        super().setup()
        from CondDiffusionUADLib.panel.Widget import Panel

        self.panel = Panel(self.layout, CondDiffusionUADLogic())

    def enter(self) -> None:
        """The panel is shown."""
        self.panel.enter()

    def cleanup(self) -> None:
        """The panel goes: end what is under way, and let a reloaded module take the library from the disk again."""
        panel = getattr(self, "panel", None)
        if panel is not None:
            panel.close()
        for name in [name for name in sys.modules if name.partition(".")[0] == "CondDiffusionUADLib"]:
            del sys.modules[name]


class CondDiffusionUADLogic(ScriptedLoadableModuleLogic):
    """Detection for scripts: ``CondDiffusionUADLogic().detect(volumeNode)``."""

    def detect(self, volumeNode: Any, **options: Any) -> Any:
        """Look for anomalies in a scan, without any dialog; the options are those of `Application.detect`."""
        from CondDiffusionUADLib.run.Application import detect

        return detect(volumeNode, **options)


class CondDiffusionUADTest(ScriptedLoadableModuleTest):
    """What "Reload and Test" runs; more tests are in Testing/Python."""

    def runTest(self) -> None:
        """Run the tests of the module in the application."""
        from CondDiffusionUADLib.run.Application import selfTest

        slicer.mrmlScene.Clear()
        selfTest(CondDiffusionUADLogic())
