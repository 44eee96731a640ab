"""The panel: puts its parts together and follows the scene."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from CondDiffusionUADLib.panel.Dialogs import QuitGuard
from CondDiffusionUADLib.panel.ExportPanel import ExportPanel, LogPanel
from CondDiffusionUADLib.panel.FindingsPanel import FindingsPanel
from CondDiffusionUADLib.panel.InputPanel import InputPanel
from CondDiffusionUADLib.panel.RunPanel import RunPanel
from CondDiffusionUADLib.panel.SettingsPanel import ModelsPanel, SettingsPanel
from CondDiffusionUADLib.panel.ViewsPanel import MorePanel, ResultsPanel, ViewsPanel
from CondDiffusionUADLib.panel.Widgets import Keys, chosen
from CondDiffusionUADLib.run import UserSettings
from CondDiffusionUADLib.run.Application import detectionLogic, moduleLogics, releaseLogic
from CondDiffusionUADLib.run.DetectionRun import Outcome, Settings
from CondDiffusionUADLib.run.EngineLaunch import engineLaunch
from CondDiffusionUADLib.run.Folders import resource
from CondDiffusionUADLib.run.Installer import Installer
from CondDiffusionUADLib.run.Problems import Problem, ProblemError
from CondDiffusionUADLib.run.Readiness import DeviceProbe, Devices
from CondDiffusionUADLib.run.Steps import Steps, timer
from CondDiffusionUADLib.scene.Components import Components, importingSteps
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import DetectionNodes
from CondDiffusionUADLib.scene.ParameterNode import openParameters

_FIRST = 1.0  # priority of an observer that is called before those of Slicer's widgets


class Panel(VTKObservationMixin):
    """The panel of the module.

    Args:
        layout: Where the widgets go.
        moduleLogic: Gives the parameter node.
        installer: Sees to the environment that the engine runs in; None for the real one.
    """

    def __init__(self, layout: Any, moduleLogic: Any, installer: Installer | None = None) -> None:
        super().__init__()
        self._moduleLogic = moduleLogic
        self._widget = slicer.util.loadUI(str(resource("UI/CondDiffusionUAD.ui")))
        layout.addWidget(self._widget)
        self.ui = slicer.util.childWidgetVariables(self._widget)
        self.ui.inputSelector.setMRMLScene(slicer.mrmlScene)
        self._parameters: Any = None
        self._guiTag: Any = None
        self.logic = detectionLogic()
        self.installer = installer or Installer()
        self.run = RunPanel(self.ui, self.logic, self.installer, self._request, self._onBusy, self._onFound)
        self._quitGuard = QuitGuard(lambda: self.run.unfinished)
        self.input = InputPanel(self.ui, self._onInputChanged)
        self.views = ViewsPanel(self.ui, slicer.mrmlScene)
        self.findings = FindingsPanel(self.ui, moduleLogics().segmentations, self.views.jump, self.run.summarize)
        self.results = ResultsPanel(self.ui, lambda: self._showChosen(show=True))
        self.log = LogPanel(self.ui, self.logic, self.run.show)
        self.export = ExportPanel(self.ui, self._reviewed, self.run.show)
        self.more = MorePanel(self.ui, lambda: self.findings.live)
        self.settings = SettingsPanel(self.ui, self.installer, self.run, self._onEngineChanged)
        self.models = ModelsPanel(self.ui, engineLaunch, self.run.show, self._onModelsChanged)
        self.keys = Keys(self.ui, self._widget)
        self.probe = DeviceProbe(self._onDevices)
        self._probed = False
        self._imports = Steps()
        self._later, self._moved = timer(self._catchUp), timer(self._onMovedNow)
        self._added = False
        self.ui.sampleButton.clicked.connect(self._onSample)
        self._observeScene()
        self._onSceneChanged()

    def _observeScene(self) -> None:
        scene = slicer.mrmlScene
        self.addObserver(scene, slicer.vtkMRMLScene.StartCloseEvent, self._onSceneClosing)
        for event in (slicer.vtkMRMLScene.EndCloseEvent, slicer.vtkMRMLScene.EndImportEvent):
            self.addObserver(scene, event, self._onSceneChanged)
        self.addObserver(scene, slicer.vtkMRMLScene.NodeAddedEvent, self._onNodeAdded)
        leaving = slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent
        self.addObserver(scene, leaving, self._onNodeAboutToBeRemoved, priority=_FIRST)
        self.addObserver(scene, slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved)

    def enter(self) -> None:
        """The panel is shown: take up what changed meanwhile."""
        if self._parameters is None:
            self._onSceneChanged()
        self.input.preselect()
        self.findings.enter()
        self.settings.show()
        self._onBusy()
        self._imports.run(importingSteps(), lambda error: None)
        self._getReady()

    def close(self) -> None:
        """The panel goes: by reloading the module, or with the application. Nothing of it stays connected."""
        if self.run.closed:
            return
        self._let()
        self._quitGuard.remove()
        self.removeObservers()
        for waiting in (self._later, self._moved, self._imports):
            waiting.stop()
        self.input.setParameters(None)
        self.views.setParameters(None)
        for part in (self.run, self.models, self.keys, self.findings, self.export, self.more):
            part.close()
        self.views.forget()
        self.probe.stop()
        self.ui.inputSelector.setMRMLScene(None)
        self._widget.hide()
        self._widget.deleteLater()
        releaseLogic()

    def _request(self) -> tuple[Any, Settings]:
        volume = self.input.volume
        if volume is None:
            raise ProblemError(Problem("no_volume", _("No volume is chosen."), _("Load a brain scan and choose it.")))
        return volume, self.input.settings(self.findings.healthyFlagged, self.findings.minVolumeMl)

    def _reviewed(self) -> LiveFindings | None:
        """The findings, with what a hand changed since."""
        self.findings.refresh()
        return self.findings.live

    def _onInputChanged(self, otherVolume: bool) -> None:
        if otherVolume and not self.run.busy:
            self.run.show("")
        self.ui.anywayButton.visible = False
        self.models.show()
        self._onBusy()

    def _onBusy(self) -> None:
        self.ui.detectButton.enabled = not self.run.busy and self.input.canExamine
        self.input.setEnabled(not self.run.busy)
        self.findings.offer(*self.input.expected)
        self.settings.show()

    def _onEngineChanged(self) -> None:
        """The environment or the wish to be ready is another one."""
        self.logic.renewWorker()
        self._probed = False
        self._getReady()

    def _getReady(self) -> None:
        """Let what a detection takes be loaded when the click comes, or at least find out what can compute."""
        if self.run.busy or not self.installer.state().ready:
            return
        if not self._probed:
            self.input.showDevices(Devices((), _("Looking for what can compute...")))
        if UserSettings.keepReady():
            model, device, gone = self.input.bundleFolder, chosen(self.ui.deviceBox), self.settings.showMemory
            self.logic.prepare(model, device, self._onDevices, gone)
        elif not self._probed:
            self.probe.start()
        self._probed = True

    def _onDevices(self, devices: Devices) -> None:
        self.input.showDevices(devices)
        self.settings.showMemory(self.logic.workerMegabytes)

    def _onModelsChanged(self, name: str) -> None:
        if name and self._parameters is not None:
            self._parameters.bundle = name
        self.input.showBundles()
        self.input.showParameters()

    def _onSample(self, *_checked: Any) -> None:
        path = resource("SampleData/synthetic_T2_brain.nii.gz")
        self.ui.inputSelector.setCurrentNode(slicer.util.loadVolume(str(path), {"name": "Synthetic_T2_brain"}))

    # The detections in the scene.

    def _onFound(self, outcome: Outcome) -> str:
        """Show a new result; returns what was found."""
        self.results.list(outcome.nodes.heatmap)
        self._parameters.heatmap = outcome.nodes.heatmap
        self._show(outcome.nodes, components=outcome.components)
        self.views.showHeatmap(outcome.nodes)
        self.findings.chooseFirst()
        self.ui.scanSection.collapsed = True
        self.input.offerScans()
        return self.findings.summary

    def _showChosen(self, *, show: bool) -> None:
        """Work on the chosen detection; show it in the views at once, or leave the views alone."""
        nodes = self.results.nodes
        if self._parameters is not None:
            self._parameters.heatmap = nodes.heatmap if nodes else None
        self.run.show("")
        self._show(nodes)
        self.views.setDetection(nodes, show=show)

    def _show(self, nodes: DetectionNodes | None, components: Components | None = None) -> None:
        self.removeObservers(self._onMoved)
        for node in (nodes.input, nodes.heatmap) if nodes is not None else ():
            if node is not None:
                self.addObserver(node, slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._onMoved)
        self.removeObservers(self._onOutlines)
        if nodes is not None and nodes.segmentation is not None:
            event = slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent
            self.addObserver(nodes.segmentation, event, self._onOutlines)
        self.findings.setDetection(nodes, components)
        self.export.setDetection(nodes)
        self.more.showBrain()

    # What happens in the scene.

    def _onSceneClosing(self, *_event: Any) -> None:
        self._let()
        self.removeObservers(self._onMoved)
        self.removeObservers(self._onOutlines)
        self.input.setParameters(None)
        self.views.setParameters(None)
        self.views.forget()
        self.findings.setDetection(None)
        if not self.run.busy:
            self.run.show("")

    def _onSceneChanged(self, *_event: Any) -> None:
        """Another scene, or more in it: take up the choices and results that are in it."""
        self._let()
        self._parameters = parameters = openParameters(self._moduleLogic.getParameterNode())
        self.input.setParameters(parameters)
        self.views.setParameters(parameters)
        self._guiTag = parameters.connectGui(self._widget)
        self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onSomething)
        self.results.list(parameters.heatmap)
        self._showChosen(show=False)
        self.ui.scanSection.collapsed = self.results.nodes is not None
        self._onBusy()

    def _let(self) -> None:
        """Let go of the parameter node."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
            self.removeObservers(self._onSomething)
            self._parameters = None

    def _onNodeAdded(self, *_event: Any) -> None:
        self._added = True
        self._onSomething()

    def _onSomething(self, *_event: Any) -> None:
        """Something changed; a moment later, for a new node has neither image nor references yet."""
        if self._parameters is not None:
            self._later.start(0)

    def _catchUp(self) -> None:
        """Show what a script, another module or the loading of files changed."""
        self._later.stop()
        if self._parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        self.input.offerScans()
        if self._added and self._widget.visible and self.input.volume is None:
            self.input.preselect()  # a scan that is loaded while the panel waits for one is meant
        self._added = False
        self.input.showParameters()
        self.views.showParameters()
        wanted = self._parameters.heatmap
        if self.results.outdated:
            self.results.list(wanted)
        if self.results.choose(wanted) or (wanted is None and self.results.nodes is not None):
            self._showChosen(show=True)
        self._onBusy()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, _scene: Any, _event: Any, node: Any) -> None:
        if not slicer.mrmlScene.IsClosing():
            self.input.forgetVolume(node)
            self._added = False

    def _onNodeRemoved(self, *_event: Any) -> None:
        if self._parameters is None or slicer.mrmlScene.IsClosing():
            return
        if self.results.outdated:
            self.results.list(None)
            self._showChosen(show=False)
        else:
            self.views.renew(self.results.nodes)
            self._onMoved()
        self.input.offerScans()
        self._onBusy()

    def _onOutlines(self, *_event: Any) -> None:
        """Somebody showed or hid outlines; while a scene is loaded, Slicer itself may."""
        if self.findings.live is not None and not slicer.mrmlScene.IsImporting():
            self.findings.live.keepHidden()

    def _onMoved(self, *_event: Any) -> None:
        """Scan, result or a part of it is elsewhere, or gone; a moment later, for it may go on."""
        self._moved.start(0)

    def _onMovedNow(self) -> None:
        self._moved.stop()
        self.findings.refresh()
