"""The part of the panel that decides what the slice views show."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from CondDiffusionUADLib.panel.ComboBox import choose, chosen, fill
from CondDiffusionUADLib.scene.Nodes import DetectionNodes
from CondDiffusionUADLib.scene.Views import FADE, HEATMAP, SIDE_BY_SIDE, Views


class ViewsPanel:
    """Opacity of the heatmap, comparison with the reconstruction, and the way back.

    Args:
        ui: The widgets of the panel by name.
        scene: The MRML scene.
    """

    def __init__(self, ui: Any, scene: Any) -> None:
        self._ui = ui
        self._views = Views(scene)
        self._nodes: DetectionNodes | None = None
        self._parameters: Any = None
        modes = [
            (_("Scan and heatmap"), HEATMAP),
            (_("Scan fading to reconstruction"), FADE),
            (_("Scan and reconstruction side by side"), SIDE_BY_SIDE),
        ]
        fill(ui.compareBox, modes, HEATMAP)
        ui.opacitySlider.valueChanged.connect(self._onOpacity)
        ui.fadeSlider.valueChanged.connect(self._onFade)
        ui.compareBox.currentIndexChanged.connect(self._onMode)
        ui.restoreButton.clicked.connect(self._onRestore)

    def setParameters(self, parameters: Any) -> None:
        """Keep the choices in this parameter node from now on; None while there is no scene."""
        self._parameters = None
        if parameters is not None:
            self._ui.opacitySlider.value = round(100 * parameters.opacity)
            self._ui.fadeSlider.value = round(100 * parameters.fade)
            choose(self._ui.compareBox, parameters.comparison)
            self._parameters = parameters
        self._enable()

    def setDetection(self, nodes: DetectionNodes | None, *, show: bool) -> None:
        """Work on this detection from now on; show it in the views at once, or leave the views alone."""
        self._nodes = nodes
        if nodes is not None and show:
            choose(self._ui.compareBox, HEATMAP)
            self._show()
        elif nodes is not None:
            self._views.resume(nodes, self._mode(), self._ui.opacitySlider.value / 100, self._ui.fadeSlider.value / 100)
        self._enable()

    def forget(self) -> None:
        """The scene is another one."""
        self._nodes = None
        self._views.forget()
        self._enable()

    def jump(self, place: tuple[float, float, float]) -> None:
        """Move the views to a place in the world."""
        self._views.jump(place)

    def _mode(self) -> str:
        return chosen(self._ui.compareBox)

    def _show(self) -> None:
        if self._nodes is None:
            return
        opacity, fade = self._ui.opacitySlider.value / 100, self._ui.fadeSlider.value / 100
        self._views.show(self._nodes, self._mode(), opacity, fade)
        if self._parameters is not None:
            self._parameters.comparison = self._mode()
        self._enable()

    def _enable(self) -> None:
        there = self._nodes is not None
        complete = there and self._nodes.input is not None and self._nodes.reconstruction is not None
        self._ui.opacitySlider.enabled = there
        self._ui.compareBox.enabled = complete
        self._ui.fadeSlider.enabled = complete and self._mode() == FADE
        self._ui.restoreButton.enabled = self._views.canRestore

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
        if self._mode() == FADE and self._ui.fadeSlider.value == 0:
            self._ui.fadeSlider.value = 50
        self._show()

    def _onRestore(self, *_checked: Any) -> None:
        self._views.restore()
        self._enable()
