"""What the heatmap node keeps of a review, for the scene file: threshold, smallest volume, decisions and edits."""

from __future__ import annotations

import math
from typing import Any

from CondDiffusionUADLib.scene.Edits import Edits
from CondDiffusionUADLib.scene.Heatmap import SCORE_RANGE, thresholdOf

MIN_VOLUME_ATTRIBUTE = "CondDiffusionUAD.MinVolumeMl"
DECISIONS_ATTRIBUTE = "CondDiffusionUAD.Decisions"
SHOWN_ATTRIBUTE = "CondDiffusionUAD.Threshold"
EDITS_ATTRIBUTE = "CondDiffusionUAD.Edits"
ALGORITHM_ATTRIBUTE = "CondDiffusionUAD.Algorithm"
DEFAULT_MIN_VOLUME_ML = 0.05


class Kept:
    """Reads and writes what a heatmap keeps; what cannot be understood is the default, for a scene may be anybody's.

    Args:
        heatmap: The volume node.
    """

    def __init__(self, heatmap: Any) -> None:
        self._heatmap = heatmap

    @property
    def threshold(self) -> float:
        """The score from which a voxel belongs to a finding, within the range of the slider.

        The heatmap's own may lie outside of it when somebody chose it in the module Volumes; it is then left alone.
        """
        threshold = thresholdOf(self._heatmap)
        return min(max(threshold, SCORE_RANGE[0]), SCORE_RANGE[1]) if math.isfinite(threshold) else SCORE_RANGE[0]

    @property
    def shownThreshold(self) -> float:
        """The threshold at which the segmentation was written: the heatmap's may have been changed since."""
        return self._number(SHOWN_ATTRIBUTE, self.threshold)

    @property
    def minVolumeMl(self) -> float:
        """The smallest volume of a finding, ml."""
        return max(self._number(MIN_VOLUME_ATTRIBUTE, DEFAULT_MIN_VOLUME_ML), 0.0)

    @property
    def decisions(self) -> str:
        """What `Decisions.text` gave."""
        return self._heatmap.GetAttribute(DECISIONS_ATTRIBUTE) or ""

    @property
    def edits(self) -> Edits:
        """What a hand changed."""
        points = self._heatmap.GetImageData().GetNumberOfPoints()
        return Edits.fromText(self._heatmap.GetAttribute(EDITS_ATTRIBUTE) or "", points)

    @property
    def algorithm(self) -> str:
        """Software, version and model, for DICOM."""
        return self._heatmap.GetAttribute(ALGORITHM_ATTRIBUTE) or "CondDiffusionUAD"

    def write(self, attribute: str, text: str) -> None:
        """Keep something, without a word to the views: they would draw the heatmap again."""
        before = self._heatmap.GetDisableModifiedEvent()
        self._heatmap.SetDisableModifiedEvent(True)
        self._heatmap.SetAttribute(attribute, text)
        self._heatmap.SetDisableModifiedEvent(before)

    def _number(self, attribute: str, default: float) -> float:
        try:
            value = float(self._heatmap.GetAttribute(attribute) or "")
        except ValueError:
            return default
        return value if math.isfinite(value) else default
