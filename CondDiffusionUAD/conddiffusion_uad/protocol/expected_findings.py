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

USUAL = 1.0
"""Findings in a healthy brain that a threshold may lead to, unless the user says otherwise."""

MOST = 30.0
"""Findings of one scan that the bound reckons with; a scan with more counts as that many."""


@dataclass(frozen=True)
class ExpectedFindings:
    """Findings in healthy scans that nothing was trained on, by threshold.

    Attributes:
        thresholds: Of the map or score, increasing.
        counts: Mean number of findings of a scan at each threshold and above it, never increasing.
        scans: How many scans were counted.
        smallest_ml: Volume of the smallest finding that was counted.
        largest: The largest value of each of the scans, increasing.
    """

    thresholds: tuple[float, ...]
    counts: tuple[float, ...]
    scans: int
    smallest_ml: float = 0.0
    largest: tuple[float, ...] = ()

    def threshold(self, expected: float, *, bounded: bool = False) -> float:
        """The lowest measured threshold with no more than so many expected findings in a healthy scan.

        Args:
            expected: Findings of a healthy scan.
            bounded: Whether the promise shall hold for a new scan from the same population however few were counted.

        Raises:
            ValueError: Too few scans were counted to promise that.
        """
        for threshold, count in zip(self.thresholds, self.counts, strict=True):
            if (self._bound(count) if bounded else count) <= expected:
                return threshold
        raise ValueError(f"{self.scans} healthy scans are too few to promise {expected:g} findings")

    def at(self, threshold: float, *, bounded: bool = False) -> float:
        """How many findings to expect in a healthy scan at a threshold, or the bound of that.

        It is what was counted at the next lower threshold; below the lowest one there may be more.
        """
        index = bisect_right(self.thresholds, threshold) - 1
        count = self.counts[max(index, 0)]
        return self._bound(count) if bounded else count

    def usual(self, score: float) -> float | None:
        """Share of the healthy scans whose largest value is at least so large; None when that is not known."""
        return sum(value >= score for value in self.largest) / len(self.largest) if self.largest else None

    def _bound(self, count: float) -> float:
        """(n mean + MOST) / (n + 1) in place of the mean.

        Conformal risk control, Angelopoulos et al., ICLR 2024, for losses of at most MOST that fall with the threshold.
        """
        return (self.scans * count + MOST) / (self.scans + 1)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "thresholds": list(self.thresholds),
            "counts": list(self.counts),
            "scans": self.scans,
            "smallest_ml": self.smallest_ml,
            "largest": list(self.largest),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ExpectedFindings:
        """From plain JSON values. Raises KeyError, TypeError or ValueError when they are none."""
        thresholds, counts, largest = (tuple(map(float, values[key])) for key in ("thresholds", "counts", "largest"))
        scans, smallest = int(values["scans"]), float(values["smallest_ml"])
        if not all(map(math.isfinite, (*thresholds, *counts, *largest, smallest))):
            raise ValueError("thresholds and counts must be finite")
        if not thresholds or len(thresholds) != len(counts) or scans < 1 or smallest < 0:
            raise ValueError("there must be a count for each threshold, and a scan")
        if (
            not all(low < high for low, high in pairwise(thresholds))
            or list(counts) != sorted(counts, reverse=True)
            or counts[-1] < 0
        ):
            raise ValueError("thresholds must increase and counts must not")
        return cls(thresholds, counts, scans, smallest, largest)
