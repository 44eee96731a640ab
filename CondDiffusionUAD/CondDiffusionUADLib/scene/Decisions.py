"""Which findings a person accepted or rejected, remembered while findings grow, shrink and merge with the threshold.

A decision is about a region: the voxels that were connected to the finding's peak above the threshold it was made at.
A finding has the status of the latest decision whose region holds the finding's peak. So a rejected finding stays
rejected when a lower threshold makes it grow and when a higher one breaks it up, but not when it becomes a part of a
finding with a higher peak elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass

import numpy as np

from CondDiffusionUADLib.scene.Components import Components

OPEN = "open"
ACCEPTED = "accepted"
REJECTED = "rejected"
STATUSES = (OPEN, ACCEPTED, REJECTED)


@dataclass(frozen=True)
class Mark:
    """One decision: the peak's voxel (z, y, x), the threshold at which it was made, and what was decided."""

    voxel: tuple[int, int, int]
    threshold: float
    status: str


class Decisions:
    """The decisions about one heatmap.

    Args:
        components: Of the heatmap.
        text: As `text` gave it, to go on from there; what cannot be understood is left out.
    """

    def __init__(self, components: Components, text: str = "") -> None:
        self._components = components
        self._marks: list[Mark] = []
        self._regions: list[np.ndarray] = []
        for mark in _parse(text):
            self._add(mark)

    def decide(self, peak: int, threshold: float, status: str) -> None:
        """Accept, reject or open again the finding with this peak (a place in the components) at this threshold."""
        self._add(Mark(tuple(int(index) for index in self._components.indices[:, peak]), float(threshold), status))

    def statusOf(self, peak: int) -> str:
        """The status of the finding with this peak (a place in the components)."""
        for mark, region in zip(reversed(self._marks), reversed(self._regions), strict=True):
            if peak < len(region) and region[peak]:
                return mark.status
        return OPEN

    def text(self) -> str:
        """The decisions as text, for a node's attribute."""
        return json.dumps([astuple(mark) for mark in self._marks])

    def _add(self, mark: Mark) -> None:
        place = self._components.placeOf(mark.voxel)
        labels = self._components.regions(mark.threshold).labels
        if place is None or place >= len(labels):
            return
        region = labels == labels[place]
        # What the new decision covers completely need not be kept.
        kept = [number for number, old in enumerate(self._regions) if not _covers(region, old)]
        self._marks = [self._marks[number] for number in kept] + [mark]
        self._regions = [self._regions[number] for number in kept] + [region]


def _covers(region: np.ndarray, other: np.ndarray) -> bool:
    return len(region) >= len(other) and bool(region[: len(other)][other].all())


def _parse(text: str) -> list[Mark]:
    try:
        return [
            Mark((int(z), int(y), int(x)), float(threshold), str(status))
            for (z, y, x), threshold, status in json.loads(text or "[]")
            if status in STATUSES
        ]
    except (TypeError, ValueError):
        return []
