"""How many findings a healthy brain has at a threshold: what a user may expect of false ones, and how sure that is.

A bundle stores it for each contrast, a report repeats it, and the panel's slider reads it there.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

USUAL = 0.5
"""Findings in a healthy brain that a threshold may lead to, unless the user says otherwise: most have none then."""

MOST = 30.0
"""Findings of one scan that are counted; a scan with more counts as that many."""

MOST_BOUNDED = 10.0
"""Findings of one scan that the bound reckons with: where there are more, the promise is broken, however many more."""

_ROUNDING_ML = 1e-9


@dataclass(frozen=True)
class ExpectedFindings:
    """Findings in healthy scans that nothing was trained on, by threshold.

    Attributes:
        thresholds: Of the map or score, increasing.
        counts: Mean number of findings of a scan at each threshold and above it, never increasing; over brains, where
            they are told.
        scans: How many scans were counted.
        smallest_ml: Volume of the smallest finding that was counted.
        largest: The largest value of each of the scans, increasing, all alike.
        brains: How many brains the scans show, each as many times as the others; None: each another one.
    """

    thresholds: tuple[float, ...]
    counts: tuple[float, ...]
    scans: int
    smallest_ml: float = 0.0
    largest: tuple[float, ...] = ()
    brains: int | None = None

    def threshold(self, expected: float, *, bounded: bool = False) -> float:
        """The lowest measured threshold with no more than so many expected findings in a healthy scan.

        Args:
            expected: Findings of a healthy scan.
            bounded: Whether the bound of :meth:`at` shall be no more, not the mean of those that were counted.

        Raises:
            ValueError: Too few scans were counted to promise that.
        """
        for threshold, count in zip(self.thresholds, self.counts, strict=True):
            if (self._bound(count) if bounded else count) <= expected:
                return threshold
        counted = f"{self.scans} healthy scans"
        if self.brains not in (None, self.scans):
            counted += f" of {self.brains} brains"
        least = self._bound(self.counts[-1]) if bounded else self.counts[-1]
        shown = math.ceil(100 * least) / 100
        raise ValueError(f"{counted} are too few to promise {expected:g} findings; the least is {shown:g}")

    def usual_threshold(self) -> float:
        """The lowest measured threshold with no more than :data:`USUAL` expected findings; else with the fewest."""
        return self.threshold(max(USUAL, self.counts[-1]))

    def covers(self, min_volume_ml: float) -> bool:
        """Whether it tells of findings from so many ml on: none as small were left out when they were counted."""
        return min_volume_ml >= self.smallest_ml - _ROUNDING_ML

    def at(self, threshold: float, *, bounded: bool = False) -> float:
        """How many findings to expect in a healthy scan at a threshold, or the bound of that.

        It is what was counted at the next lower threshold; below the lowest one there may be more. The bound holds on
        average over the brains that are counted and the new one, all from one population, however few they are; a scan
        with more than :data:`MOST_BOUNDED` findings counts as so many in it.
        """
        index = bisect_right(self.thresholds, threshold) - 1
        count = self.counts[max(index, 0)]
        return self._bound(count) if bounded else count

    def usual(self, score: float) -> float | None:
        """Share of the healthy scans whose largest value is at least so large; None when that is not known."""
        return sum(value >= score for value in self.largest) / len(self.largest) if self.largest else None

    def _bound(self, count: float) -> float:
        """(n mean + MOST_BOUNDED) / (n + 1) in place of the mean.

        Conformal risk control, Angelopoulos et al., ICLR 2024, for losses of at most MOST_BOUNDED that fall with the
        threshold. n is the number of brains: scans of one brain may resemble each other, and its mean is one loss.
        """
        brains = self.brains or self.scans
        return (brains * min(count, MOST_BOUNDED) + MOST_BOUNDED) / (brains + 1)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "thresholds": list(self.thresholds),
            "counts": list(self.counts),
            "scans": self.scans,
            "smallest_ml": self.smallest_ml,
            "largest": list(self.largest),
            "brains": self.brains,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ExpectedFindings:
        """From plain JSON values. Raises KeyError, TypeError or ValueError when they are none."""
        thresholds, counts, largest = (tuple(map(float, values[key])) for key in ("thresholds", "counts", "largest"))
        scans, smallest = int(values["scans"]), float(values["smallest_ml"])
        brains = values.get("brains")  # older bundles and reports do not tell
        if not all(map(math.isfinite, (*thresholds, *counts, *largest, smallest))):
            raise ValueError("thresholds and counts must be finite")
        if not thresholds or len(thresholds) != len(counts) or scans < 1 or smallest < 0:
            raise ValueError("there must be a count for each threshold, and a scan")
        if brains is not None and not 1 <= (brains := int(brains)) <= scans:
            raise ValueError("there must be a brain, and a scan of each")
        if (
            not all(low < high for low, high in pairwise(thresholds))
            or list(counts) != sorted(counts, reverse=True)
            or counts[-1] < 0
        ):
            raise ValueError("thresholds must increase and counts must not")
        return cls(thresholds, counts, scans, smallest, largest, brains)
