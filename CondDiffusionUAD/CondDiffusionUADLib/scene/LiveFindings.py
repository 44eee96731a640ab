"""The findings of a detection in the scene: segmentation, table and heatmap follow the threshold and the decisions.

The threshold is the heatmap's own; the smallest volume and the decisions are attributes of the heatmap. So the scene
file keeps everything, and this class can be made again from a scene that was loaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from CondDiffusionUADLib.panel.FindingsTable import setFindings
from CondDiffusionUADLib.run.ResultFiles import matrixOf, voxels
from CondDiffusionUADLib.scene.CandidateSegmentation import isShownInThreeD, setCandidateVoxels, showInThreeD
from CondDiffusionUADLib.scene.Components import Components, linkComponents
from CondDiffusionUADLib.scene.Decisions import Decisions
from CondDiffusionUADLib.scene.FindingsModel import FindingsModel, Selection
from CondDiffusionUADLib.scene.HeatmapColors import SCORE_RANGE
from CondDiffusionUADLib.scene.HeatmapDisplay import setThreshold, thresholdOf
from CondDiffusionUADLib.scene.Nodes import DetectionNodes

MIN_VOLUME_ATTRIBUTE = "CondDiffusionUAD.MinVolumeMl"
DECISIONS_ATTRIBUTE = "CondDiffusionUAD.Decisions"
DEFAULT_MIN_VOLUME_ML = 0.05


class LiveFindings:
    """The findings of one detection.

    Args:
        segmentationsLogic: Slicer's segmentations logic.
        nodes: Of the detection.
        model: Of the heatmap.

    Attributes:
        nodes: Of the detection.
        selection: What is shown now; None before the first `show`.
    """

    def __init__(self, segmentationsLogic: Any, nodes: DetectionNodes, model: FindingsModel) -> None:
        self._logic = segmentationsLogic
        self._model = model
        self.nodes = nodes
        self.selection: Selection | None = None

    @classmethod
    def fromScene(
        cls, segmentationsLogic: Any, nodes: DetectionNodes, components: Components | None = None
    ) -> LiveFindings:
        """The findings of a detection that is in the scene, as they were left.

        Args:
            segmentationsLogic: Slicer's segmentations logic.
            nodes: Of the detection.
            components: Of the heatmap, if they are known; linking them takes up to a second.
        """
        components = components or linkComponents(voxels(nodes.heatmap), SCORE_RANGE[0])
        decisions = Decisions(components, nodes.heatmap.GetAttribute(DECISIONS_ATTRIBUTE) or "")
        live = cls(segmentationsLogic, nodes, FindingsModel(components, matrixOf(nodes.heatmap), decisions))
        live.selection = live._model.select(live.threshold, live.minVolumeMl)
        return live

    @property
    def threshold(self) -> float:
        """The score from which a voxel belongs to a finding, within the range of the slider."""
        return min(max(thresholdOf(self.nodes.heatmap), SCORE_RANGE[0]), SCORE_RANGE[1])

    @property
    def minVolumeMl(self) -> float:
        """The smallest volume of a finding, ml."""
        try:
            return max(float(self.nodes.heatmap.GetAttribute(MIN_VOLUME_ATTRIBUTE) or ""), 0.0)
        except ValueError:
            return DEFAULT_MIN_VOLUME_ML

    def show(self, threshold: float, minVolumeMl: float) -> None:
        """Show the findings at this threshold that are at least this large."""
        setThreshold(self.nodes.heatmap, threshold)
        self.nodes.heatmap.SetAttribute(MIN_VOLUME_ATTRIBUTE, f"{minVolumeMl:.6g}")
        self._update(threshold, minVolumeMl)

    def decide(self, number: int, status: str) -> None:
        """Accept, reject or open again the finding of that number; rejected ones leave the segmentation."""
        self._model.decide(self.threshold, self.minVolumeMl, number, status)
        self.nodes.heatmap.SetAttribute(DECISIONS_ATTRIBUTE, self._model.decisions.text())
        self._update(self.threshold, self.minVolumeMl)

    def numbers(self) -> np.ndarray:
        """The number of the finding of each voxel, uint16, axes (z, y, x); 0 where there is none or it was rejected."""
        result = np.zeros(voxels(self.nodes.heatmap).shape, np.uint16)
        if self.selection:
            shown = np.zeros(len(self.selection.findings) + 1, np.uint16)
            for finding in self.selection.findings:
                shown[finding.number] = finding.number if finding.status != "rejected" else 0
            numbers = shown[self.selection.numbers]
            result[tuple(self._model.components.indices[:, : len(numbers)])] = numbers
        return result

    def showInThreeD(self, shown: bool) -> None:
        """Show the findings as surfaces in the 3D views, or not."""
        showInThreeD(self.nodes.segmentation, shown)

    @property
    def shownInThreeD(self) -> bool:
        """Whether the findings are shown as surfaces."""
        return isShownInThreeD(self.nodes.segmentation)

    def _update(self, threshold: float, minVolumeMl: float) -> None:
        self.selection = self._model.select(threshold, minVolumeMl)
        setCandidateVoxels(
            self._logic, self.nodes.segmentation, self.nodes.heatmap, self.selection.mask, self.selection.offset
        )
        setFindings(self.nodes.findings, self.selection.findings)
