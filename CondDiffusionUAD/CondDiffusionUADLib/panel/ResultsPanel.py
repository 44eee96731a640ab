"""The list of the detections in the scene, and which of them is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from CondDiffusionUADLib.panel.Widgets import choose, chosen, fill
from CondDiffusionUADLib.scene.Nodes import DetectionNodes, findDetections, resultTitle


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
