"""Which findings a person accepted or rejected, remembered while findings grow, shrink and merge with the threshold.

A decision is about a region: the voxels that were connected to the finding's peak above the threshold it was made at.
A finding has the status of the latest decision whose region holds the finding's peak. So a rejected finding stays
rejected when a lower threshold makes it grow and when a higher one breaks it up, but not when it becomes a part of a
finding with a higher peak elsewhere. A finding that was drawn by hand where no threshold reaches is known by its peak.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from CondDiffusionUADLib.scene.Components import Components
from CondDiffusionUADLib.scene.Edits import Edits
from CondDiffusionUADLib.scene.Heatmap import HIGHEST_THRESHOLD, SCORE_RANGE, thresholdOf

OPEN = "open"
ACCEPTED = "accepted"
REJECTED = "rejected"
STATUSES = (OPEN, ACCEPTED, REJECTED)
MOST_MARKS = 1000  # of a text: a scene may come from anybody, and each takes some hundredths of a second
LONGEST_TEXT = 200_000

Voxel = tuple[int, int, int]


@dataclass(frozen=True)
class Mark:
    """One decision: the peak's voxel (z, y, x), the threshold at which it was made, and what was decided."""

    voxel: Voxel
    threshold: float
    status: str


@dataclass(frozen=True)
class _Judged:
    """A decision with its region: for each place in the components, up to some place, whether it is inside."""

    mark: Mark
    region: np.ndarray

    def covers(self, other: _Judged) -> bool:
        """Whether nothing of the other one is left."""
        if not self.region.size or not other.region.size:
            return self.mark.voxel == other.mark.voxel
        return len(self.region) >= len(other.region) and bool(self.region[: len(other.region)][other.region].all())


class Decisions:
    """The decisions about one heatmap, with the way back to each earlier state.

    Args:
        components: Of the heatmap.
    """

    def __init__(self, components: Components) -> None:
        self._components = components
        self._states: list[tuple[_Judged, ...]] = [()]
        self._now = 0

    def restoring(self, text: str) -> Iterator[None]:
        """Go on from what `text` gave, a decision a step; what cannot be understood is left out.

        Afterwards nothing can be undone.
        """
        for mark in _parse(text):
            self._add(mark)
            yield
        self._states, self._now = [self._states[self._now]], 0

    def decide(self, voxel: Voxel, threshold: float, status: str) -> None:
        """Accept, reject or open again the finding with this peak (z, y, x) at this threshold."""
        self._add(Mark(voxel, float(threshold), status))

    def statusOf(self, voxel: Voxel, place: int | None) -> str:
        """The status of the finding with this peak: its voxel, and its place in the components if it has one."""
        for judged in reversed(self._states[self._now]):
            if place is not None and place < len(judged.region) and judged.region[place]:
                return judged.mark.status
            if place is None and judged.mark.voxel == voxel:
                return judged.mark.status
        return OPEN

    @property
    def canUndo(self) -> bool:
        """Whether there is a decision to take back."""
        return self._now > 0

    @property
    def canRedo(self) -> bool:
        """Whether a decision was taken back."""
        return self._now < len(self._states) - 1

    def undo(self) -> Voxel | None:
        """Take the latest decision back; returns the peak of the finding that it was about."""
        if not self.canUndo:
            return None
        self._now -= 1
        return self._states[self._now + 1][-1].mark.voxel

    def redo(self) -> Voxel | None:
        """Decide again what was taken back; returns the peak of the finding that it is about."""
        if not self.canRedo:
            return None
        self._now += 1
        return self._states[self._now][-1].mark.voxel

    def text(self) -> str:
        """The decisions as text, for a node's attribute."""
        return json.dumps([astuple(judged.mark) for judged in self._states[self._now]])

    def _add(self, mark: Mark) -> None:
        place = self._components.placeOf(mark.voxel)
        labels = self._components.regions(mark.threshold).labels
        inside = place is not None and place < len(labels)
        added = _Judged(mark, labels == labels[place] if inside else np.zeros(0, bool))
        # What the new decision covers completely need not be kept.
        kept = tuple(judged for judged in self._states[self._now] if not added.covers(judged))
        self._states[self._now + 1 :] = [(*kept, added)]
        self._now += 1


def _parse(text: str) -> list[Mark]:
    if len(text) > LONGEST_TEXT:
        return []
    try:
        found = [
            Mark((int(z), int(y), int(x)), float(threshold), str(status))
            for (z, y, x), threshold, status in json.loads(text or "[]")[-MOST_MARKS:]
            if status in STATUSES
        ]
    except (TypeError, ValueError, KeyError, OverflowError, RecursionError):
        return []
    return [mark for mark in found if math.isfinite(mark.threshold)]


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
        """The score from which a voxel belongs to a finding, within what the slider can reach.

        The heatmap's own may lie outside of it when somebody chose it in the module Volumes; it is then left alone.
        """
        threshold = thresholdOf(self._heatmap)
        if threshold is None:
            threshold = self._number(SHOWN_ATTRIBUTE, SCORE_RANGE[0])
        return min(max(threshold, SCORE_RANGE[0]), HIGHEST_THRESHOLD) if math.isfinite(threshold) else SCORE_RANGE[0]

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
