"""The part of the panel that hands the findings over: to the Segment Editor, and to the 3D views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from CondDiffusionUADLib.scene.BrainSurface import showBrain
from CondDiffusionUADLib.scene.LiveFindings import LiveFindings


class MorePanel:
    """Editing by hand, and the surface of the brain.

    Args:
        ui: The widgets of the panel by name.
        live: The findings that are shown, with what a hand changed since; None when there are none.
    """

    def __init__(self, ui: Any, live: Callable[[], LiveFindings | None]) -> None:
        self._ui = ui
        self._live = live
        ui.editButton.clicked.connect(self._onEdit)
        ui.brainBox.toggled.connect(self.showBrain)

    def showBrain(self, *_checked: Any) -> None:
        """Show the brain of the result that is shown, if that is wanted, and no other."""
        live = self._live()
        self._ui.brainBox.enabled = live is not None
        showBrain(slicer.mrmlScene, live.nodes if live is not None else None, bool(self._ui.brainBox.checked))

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
