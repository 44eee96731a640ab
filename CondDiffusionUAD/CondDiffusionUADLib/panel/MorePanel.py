"""The part of the panel that hands the findings over: to the Segment Editor, and to the 3D views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from CondDiffusionUADLib.run.Steps import Steps
from CondDiffusionUADLib.scene.BrainSurface import hideBrain, showingBrainSteps
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings
from CondDiffusionUADLib.scene.Nodes import findDetections


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
