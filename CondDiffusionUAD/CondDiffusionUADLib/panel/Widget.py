"""The panel: puts its parts together and follows the scene."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from CondDiffusionUADLib.panel.ComboBox import chosen, fill
from CondDiffusionUADLib.panel.ExportPanel import ExportPanel
from CondDiffusionUADLib.panel.FindingsPanel import FindingsPanel
from CondDiffusionUADLib.panel.InputPanel import InputPanel
from CondDiffusionUADLib.panel.RunPanel import RunPanel
from CondDiffusionUADLib.panel.ViewsPanel import ViewsPanel
from CondDiffusionUADLib.run import UserSettings
from CondDiffusionUADLib.run.Application import detectionLogic, moduleLogics, releaseLogic
from CondDiffusionUADLib.run.DetectionRun import Outcome, Settings
from CondDiffusionUADLib.run.DeviceProbe import DeviceProbe, Devices
from CondDiffusionUADLib.run.Diagnostics import diagnostics
from CondDiffusionUADLib.run.Installer import Installer
from CondDiffusionUADLib.run.Installing import Installing
from CondDiffusionUADLib.run.Paths import resource
from CondDiffusionUADLib.run.Problems import Problem, ProblemError
from CondDiffusionUADLib.run.Steps import Steps
from CondDiffusionUADLib.scene.Components import importingSteps
from CondDiffusionUADLib.scene.Nodes import findDetections, resultTitle
from CondDiffusionUADLib.scene.ParameterNode import openParameters


class Panel(VTKObservationMixin):
    """The panel of the module.

    Args:
        layout: Where the widgets go.
        moduleLogic: Gives the parameter node.
        installer: Sees to the environment that the engine runs in; None for the real one.
    """

    def __init__(self, layout: Any, moduleLogic: Any, installer: Installing | None = None) -> None:
        super().__init__()
        self._moduleLogic = moduleLogic
        self.installer = installer or Installer()
        self._widget = slicer.util.loadUI(str(resource("UI/CondDiffusionUAD.ui")))
        layout.addWidget(self._widget)
        self.ui = slicer.util.childWidgetVariables(self._widget)
        self.ui.inputSelector.setMRMLScene(slicer.mrmlScene)
        self._parameters: Any = None
        self.logic = detectionLogic()
        self.input = InputPanel(self.ui, self._onInputChanged, lambda text: self.run.show(text))
        self.views = ViewsPanel(self.ui, slicer.mrmlScene)
        self.findings = FindingsPanel(self.ui, moduleLogics().segmentations, self.views.jump)
        self.run = RunPanel(self.ui, self.logic, self.installer, self._request, self._updateButton, self._onFound)
        self.export = ExportPanel(self.ui, lambda: self.findings.live, self.run.show)
        self.probe = DeviceProbe(self.input.showDevices)
        self._probed = False
        self._imports = Steps()
        self.ui.detectionBox.currentIndexChanged.connect(self._onDetectionChosen)
        self.ui.diagnosticsButton.clicked.connect(self.copyDiagnostics)
        scene = slicer.mrmlScene
        self.addObserver(scene, slicer.vtkMRMLScene.StartCloseEvent, self._onSceneClosing)
        for event in (slicer.vtkMRMLScene.EndCloseEvent, slicer.vtkMRMLScene.EndImportEvent):
            self.addObserver(scene, event, self._onSceneChanged)
        self.addObserver(scene, slicer.vtkMRMLScene.NodeAddedEvent, self._onNodeAdded)
        self.addObserver(scene, slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved)
        self._onSceneChanged()

    def enter(self) -> None:
        """The panel is shown: take up what changed meanwhile."""
        if self._parameters is None:
            self._onSceneChanged()
        self.input.preselect()
        self.findings.refresh()
        self._updateButton()
        self._imports.run(importingSteps(), lambda error: None)
        if not self._probed and self.installer.state().ready:
            self._probed = True
            self.input.showDevices(Devices((), _("Looking for what can compute...")))
            if UserSettings.keepReady():
                bundle, device = chosen(self.ui.bundleBox), chosen(self.ui.deviceBox)
                self.logic.prepare(bundle, device, self.input.showDevices)
            else:
                self.probe.start()

    def close(self) -> None:
        """The panel goes: by reloading the module, or with the application."""
        self.removeObservers()
        self.run.close()
        self.findings.close()
        self.probe.stop()
        self._imports.stop()
        releaseLogic()

    def copyDiagnostics(self, *_checked: Any) -> None:
        """Put the text for a bug report into the clipboard."""
        app = slicer.app
        application = f"{app.applicationName} {app.applicationVersion} ({app.repositoryRevision})"
        device = f"{chosen(self.ui.deviceBox)}; {self.ui.deviceHint.text}"
        scene = slicer.mrmlScene
        count = scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode")
        names = tuple(scene.GetNthNodeByClass(index, "vtkMRMLVolumeNode").GetName() for index in range(count))
        message, log = self.ui.messageLabel.text, self.logic.log.text()
        text = diagnostics(application, device, chosen(self.ui.bundleBox), message, log, names)
        app.clipboard().setText(text)
        self.run.show(_("The diagnostics are in the clipboard."))

    def _request(self) -> tuple[Any, Settings]:
        volume = self.input.volume
        if volume is None:
            raise ProblemError(Problem("no_volume", _("No volume is chosen."), _("Load a brain scan and choose it.")))
        return volume, self.input.settings(self.findings.healthyFlagged, self.findings.minVolumeMl)

    def _onInputChanged(self) -> None:
        self.run.forgetRefusal()
        self._updateButton()

    def _updateButton(self) -> None:
        busy = self.run.busy
        self.ui.detectButton.enabled = not busy and self.input.volume is not None
        self.input.setEnabled(not busy)

    def _onFound(self, outcome: Outcome) -> None:
        self._listDetections(outcome.nodes.heatmap.GetID())
        self._parameters.heatmap = outcome.nodes.heatmap
        self.findings.setDetection(outcome.nodes, outcome.components)
        self.views.setDetection(outcome.nodes, show=True)
        self.ui.exportSection.enabled = True
        first = self.findings.live.selection.findings[:1] if self.findings.live else ()
        for finding in first:
            self.views.jump(finding.centerRas)

    def _listDetections(self, heatmapId: str) -> None:
        detections = findDetections(slicer.mrmlScene)
        entries = [(resultTitle(nodes), nodes.heatmap.GetID()) for nodes in detections]
        fill(self.ui.detectionBox, entries, heatmapId)
        self.ui.detectionBox.enabled = bool(entries)

    def _onDetectionChosen(self, *_index: Any) -> None:
        self._showDetection(chosen(self.ui.detectionBox), show=True)

    def _showDetection(self, heatmapId: str, *, show: bool) -> None:
        """Work on a detection of the scene."""
        known = {nodes.heatmap.GetID(): nodes for nodes in findDetections(slicer.mrmlScene)}
        nodes = known.get(heatmapId)
        if self._parameters is not None:
            self._parameters.heatmap = nodes.heatmap if nodes else None
        self.findings.setDetection(nodes)
        self.views.setDetection(nodes, show=show)
        self.ui.exportSection.enabled = nodes is not None

    def _onSceneClosing(self, *_: Any) -> None:
        self._parameters = None
        self.input.setParameters(None)
        self.views.setParameters(None)
        self.views.forget()
        self.findings.setDetection(None)

    def _onSceneChanged(self, *_: Any) -> None:
        """Another scene, or more in it: take up the choices and results that are in it."""
        self._parameters = openParameters(self._moduleLogic.getParameterNode())
        self.input.setParameters(self._parameters)
        self.views.setParameters(self._parameters)
        shown = self._parameters.heatmap
        self._listDetections(shown.GetID() if shown else "")
        self._showDetection(chosen(self.ui.detectionBox), show=False)
        self._updateButton()

    def _onNodeAdded(self, *_: Any) -> None:
        """A scan loaded while the panel waits for one is taken; later, since a new node has no image yet."""
        if self._parameters is not None and self._widget.visible and self.input.volume is None:
            qt.QTimer.singleShot(0, self.input.preselect)

    def _onNodeRemoved(self, *_: Any) -> None:
        if self._parameters is None or slicer.mrmlScene.IsClosing():
            return
        live = self.findings.live
        known = {nodes.heatmap.GetID() for nodes in findDetections(slicer.mrmlScene)}
        listed = {self.ui.detectionBox.itemData(index) for index in range(self.ui.detectionBox.count)}
        if known != listed or (live is not None and live.nodes.heatmap.GetScene() is None):
            self._listDetections(chosen(self.ui.detectionBox))
            self._showDetection(chosen(self.ui.detectionBox), show=False)
        self._updateButton()
