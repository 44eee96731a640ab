"""The parts of the panel that decide which result the views show, and how, and that hand it to the Segment Editor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from CondDiffusionUADLib.panel.Widgets import choose, chosen, fill, setQuietly
from CondDiffusionUADLib.run.Steps import Steps, timer
from CondDiffusionUADLib.scene.BrainSurface import hideBrain, showingBrainSteps
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections, resultTitle
from CondDiffusionUADLib.scene.Views import FADE, HEATMAP, SIDE_BY_SIDE, THREE_UP, UNCERTAINTY, Views, canShow


class ResultsPanel:
    """The list of results.

    Args:
        ui: The widgets of the panel by name.
        changed: Called when the user chooses another result.
    """

    def __init__(self, ui: Any, changed: Callable[[], None]) -> None:
        self._box = ui.detectionBox
        self._box.currentIndexChanged.connect(lambda *_index: changed())

    @property
    def nodes(self) -> DetectionNodes | None:
        """The chosen detection, as it is in the scene; None when there is none."""
        heatmapId = chosen(self._box)
        return next((n for n in findDetections(slicer.mrmlScene) if n.heatmap.GetID() == heatmapId), None)

    @property
    def outdated(self) -> bool:
        """Whether the scene has other detections than those that are listed."""
        return {nodes.heatmap.GetID() for nodes in findDetections(slicer.mrmlScene)} != self._listed

    def list(self, heatmap: Any) -> None:
        """List the detections of the scene, and choose that with this heatmap (None: as before, else the first)."""
        detections = findDetections(slicer.mrmlScene)
        wanted = heatmap.GetID() if heatmap is not None else chosen(self._box)
        fill(self._box, [(resultTitle(nodes), nodes.heatmap.GetID()) for nodes in detections], wanted)
        self._box.enabled = bool(detections)

    def choose(self, heatmap: Any) -> bool:
        """Choose the detection with this heatmap; whether it was another one, and is listed."""
        if heatmap is None or heatmap.GetID() == chosen(self._box) or heatmap.GetID() not in self._listed:
            return False
        choose(self._box, heatmap.GetID())
        return True

    @property
    def _listed(self) -> set[str]:
        return {self._box.itemData(index) for index in range(self._box.count)}


_NARROWEST = 200  # pixels
_HALF = 50  # percent of the reconstruction, when fading begins


class ViewsPanel:
    """Heatmap and its opacity, comparison with the reconstruction, legend, and the way back.

    Args:
        ui: The widgets of the panel by name.
        scene: The MRML scene.
    """

    def __init__(self, ui: Any, scene: Any) -> None:
        self._ui = ui
        self._aligning = timer(self._align)
        self._views = Views(scene, lambda: self._aligning.start(0))
        self._nodes: DetectionNodes | None = None
        self._parameters: Any = None
        self._offerModes()
        ui.opacitySlider.valueChanged.connect(self._onOpacity)
        ui.fadeSlider.valueChanged.connect(self._onFade)
        ui.compareBox.currentIndexChanged.connect(self._onMode)
        ui.heatmapBox.clicked.connect(self._onHeatmap)
        ui.flickerButton.clicked.connect(self._onFlicker)
        ui.legendBox.toggled.connect(self._onLegend)
        ui.restoreButton.clicked.connect(self._onRestore)
        self._enable()

    def setParameters(self, parameters: Any) -> None:
        """Keep the choices in this parameter node from now on; None while there is no scene."""
        self._parameters = parameters
        self.showParameters()

    def showParameters(self) -> None:
        """Show the choices again: a script may have changed them."""
        parameters, ui = self._parameters, self._ui
        if parameters is not None:
            # Not quietly: what a script chooses reaches the views as well.
            ui.opacitySlider.value = round(100 * parameters.opacity)
            ui.fadeSlider.value = round(100 * parameters.fade)
            if chosen(ui.compareBox) != parameters.comparison:
                choose(ui.compareBox, parameters.comparison)
                if self._views.canRestore:
                    self._show()
        self._enable()

    def setDetection(self, nodes: DetectionNodes | None, *, show: bool) -> None:
        """Work on this detection from now on; show it in the views at once, or leave the views alone."""
        self._nodes = nodes
        self._offerModes()
        if nodes is not None and show:
            self._show()
        elif nodes is not None and self._views.resume(nodes, *self._choices):
            self._shown()
        self._enable()

    def _offerModes(self) -> None:
        """Offer what the detection can show; without a detection, what every one can."""
        modes = [
            (_("Scan with heatmap"), HEATMAP),
            (_("Scan fading to reconstruction"), FADE),
            (_("Scan, reconstruction"), SIDE_BY_SIDE),
            (_("Scan, reconstruction, heatmap"), THREE_UP),
        ]
        nodes, parameters = self._nodes, self._parameters
        if nodes is not None:
            modes.append((_("Scan with uncertainty"), UNCERTAINTY))
            modes = [(text, mode) for text, mode in modes if canShow(nodes, mode)]
        fill(self._ui.compareBox, modes, parameters.comparison if parameters is not None else HEATMAP)

    def renew(self, nodes: DetectionNodes | None) -> None:
        """A node went: if it was a part of the detection, offer and show what is left."""
        if nodes is None or nodes == self._nodes:
            return
        mode, self._nodes = chosen(self._ui.compareBox), nodes
        self._offerModes()
        if not canShow(nodes, mode) and self._views.canRestore:
            self._show()
        self._enable()

    def showHeatmap(self, nodes: DetectionNodes) -> None:
        """Show a new result as a reader first wants to see it: the heatmap over the scan."""
        if self._parameters is not None:
            self._parameters.comparison = HEATMAP
        self.setDetection(nodes, show=True)

    def forget(self) -> None:
        """The scene is another one, or the panel goes."""
        self._nodes = None
        self._aligning.stop()
        self._views.forget()
        self._enable()

    def jump(self, ras: tuple[float, float, float]) -> None:
        """Center the views on a place (R, A, S in the views)."""
        self._views.jump(ras)

    def _align(self) -> None:
        self._aligning.stop()
        self._views.align()

    def _show(self) -> None:
        if self._nodes is None:
            return
        allowNarrowViews()
        self._views.show(self._nodes, *self._choices)
        self._shown()

    @property
    def _choices(self) -> tuple[str, float, float]:
        """Mode, opacity of the heatmap and of the reconstruction."""
        ui = self._ui
        return chosen(ui.compareBox), ui.opacitySlider.value / 100, ui.fadeSlider.value / 100

    def _shown(self) -> None:
        """The views show the detection as the widgets say: so do they."""
        ui = self._ui
        self._views.setLegendVisible(bool(ui.legendBox.checked))
        setQuietly(ui.heatmapBox, "checked", True)
        ui.flickerButton.checked = False
        if self._parameters is not None:
            self._parameters.comparison = chosen(ui.compareBox)
        self._enable()

    def _enable(self) -> None:
        ui, nodes = self._ui, self._nodes
        complete = nodes is not None and nodes.input is not None and nodes.reconstruction is not None
        mode = chosen(ui.compareBox)
        fading = mode == FADE
        ui.heatmapBox.text = _("Uncertainty") if mode == UNCERTAINTY else _("Heatmap")
        for widget in (ui.opacitySlider, ui.heatmapBox, ui.legendBox):
            widget.enabled = nodes is not None
        ui.compareBox.enabled = complete or (nodes is not None and canShow(nodes, UNCERTAINTY))
        ui.flickerButton.enabled = complete
        ui.fadeSlider.enabled = complete and fading
        ui.fadeSlider.visible = fading
        ui.restoreButton.enabled = self._views.canRestore

    def _onOpacity(self, percent: int) -> None:
        self._ui.opacityLabel.text = f"{percent} %"
        if self._parameters is not None:
            self._parameters.opacity = percent / 100
        self._views.setOpacity(percent / 100)

    def _onFade(self, percent: int) -> None:
        if self._parameters is not None:
            self._parameters.fade = percent / 100
        self._views.setFade(percent / 100)

    def _onMode(self, *_index: Any) -> None:
        if chosen(self._ui.compareBox) == FADE and self._ui.fadeSlider.value == 0:
            self._ui.fadeSlider.value = _HALF
        self._show()

    def _onHeatmap(self, *_checked: Any) -> None:
        setQuietly(self._ui.heatmapBox, "checked", self._views.toggleHeatmap())

    def _onFlicker(self, *_checked: Any) -> None:
        self._ui.flickerButton.checked = self._views.flicker()

    def _onLegend(self, shown: bool) -> None:
        self._views.setLegendVisible(bool(shown))

    def _onRestore(self, *_checked: Any) -> None:
        self._views.restore()
        self._enable()


def allowNarrowViews() -> None:
    """Let slice views be narrower than the bar of buttons above them asks for.

    Three of them beside each other would widen Slicer's window beyond the screen of a laptop. Layouts in which they
    have more room are as before.
    """
    layouts = slicer.app.layoutManager()
    for name in layouts.sliceViewNames() if layouts is not None else ():
        layouts.sliceWidget(name).minimumWidth = _NARROWEST


class MorePanel:
    """Editing by hand, and the surface of the brain.

    Args:
        ui: The widgets of the panel by name.
        live: The findings that are shown, with what a hand changed since; None when there are none.
    """

    def __init__(self, ui: Any, live: Callable[[], LiveFindings | None]) -> None:
        self._ui = ui
        self._live = live
        self._steps = Steps()
        ui.editButton.clicked.connect(self._onEdit)
        ui.brainBox.toggled.connect(self.showBrain)

    def showBrain(self, *_checked: Any) -> None:
        """Show the brain of the result that is shown, if that is wanted, and no other."""
        live = self._live()
        self._ui.brainBox.enabled = live is not None
        self._steps.stop()
        for nodes in findDetections(slicer.mrmlScene):
            if live is None or nodes.heatmap is not live.nodes.heatmap or not self._ui.brainBox.checked:
                hideBrain(nodes)
        if live is not None and self._ui.brainBox.checked:
            self._steps.run(showingBrainSteps(live.nodes), lambda error: None)

    def close(self) -> None:
        """The panel goes."""
        self._steps.stop()

    def _onEdit(self, *_checked: Any) -> None:
        live = self._live()
        if live is not None:
            editSegmentation(live.editableCopy(), live.nodes.input)


def editSegmentation(segmentation: Any, scan: Any) -> None:
    """Open a segmentation in Slicer's module Segment Editor, over its scan."""
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    editor.setSegmentationNode(segmentation)
    if scan is not None:
        editor.setSourceVolumeNode(scan)
