"""The findings of a detection: what is known of each, which voxels are theirs, and the table of them in the scene."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import vtk

from CondDiffusionUADLib.scene.Components import Components
from CondDiffusionUADLib.scene.Decisions import ACCEPTED, OPEN, Decisions, Voxel
from CondDiffusionUADLib.scene.Edits import Edits, Hand, Parts

# Column, unit, type.
_COLUMNS = (
    ("Number", "", vtk.vtkIntArray),
    ("Volume", "ml", vtk.vtkDoubleArray),
    ("Peak score", "-log10 p", vtk.vtkDoubleArray),
    ("Mean score", "-log10 p", vtk.vtkDoubleArray),
    ("Center R", "mm", vtk.vtkDoubleArray),
    ("Center A", "mm", vtk.vtkDoubleArray),
    ("Center S", "mm", vtk.vtkDoubleArray),
    ("Status", "", vtk.vtkStringArray),
    ("Side", "", vtk.vtkStringArray),
    ("Slice", "", vtk.vtkIntArray),
    ("Segment", "", vtk.vtkStringArray),
)


@dataclass(frozen=True)
class Finding:
    """One region above the threshold, or drawn by hand.

    Attributes:
        number: From 1 on, in descending order of volume times mean score; what was drawn only comes last.
        volumeMl: Volume, ml.
        peakScore: Highest anomaly score.
        meanScore: Mean anomaly score.
        centerRas: The voxel nearest to the centroid, (R, A, S) in mm, where the views show it.
        status: What a person decided, one of `Decisions.STATUSES`.
        peak: The voxel (z, y, x) with the highest score: by it a finding is known while others come and go.
        side: "right", "left" or "middle" of the brain, in the patient.
        slice: Number of the slice, from 1 on, that the center lies in, in the order of the volume.
        segment: Name of the user's own segment that this is; empty for what the module writes. Cannot be decided about.
        edited: Whether a hand changed it.
    """

    number: int
    volumeMl: float
    peakScore: float
    meanScore: float
    centerRas: tuple[float, float, float]
    status: str = OPEN
    peak: Voxel = (0, 0, 0)
    side: str = ""
    slice: int = 0
    segment: str = ""
    edited: bool = False


@dataclass(frozen=True)
class Selection:
    """The findings at one threshold and smallest volume.

    Attributes:
        findings: Most important first, also those that were rejected.
        indices: Voxel indices (z, y, x) of all of them together, shape (3, n).
        numbers: For each of these voxels the number of its finding, 0 for those of regions that are too small.
    """

    findings: tuple[Finding, ...]
    indices: np.ndarray
    numbers: np.ndarray

    def mask(self, numbers: Iterable[int]) -> tuple[np.ndarray, Voxel]:
        """uint8, axes (z, y, x), 1 inside of these findings, the box that holds them; and the box's first voxel."""
        wanted = np.zeros(len(self.findings) + 1, bool)
        wanted[list(numbers)] = True
        wanted[0] = False
        inside = self.indices[:, np.flatnonzero(wanted[self.numbers])]
        if not inside.size:
            return np.zeros((1, 1, 1), np.uint8), (0, 0, 0)
        low = inside.min(axis=1)
        mask = np.zeros(inside.max(axis=1) - low + 1, np.uint8)
        mask[tuple(inside - low[:, None])] = 1
        return mask, (int(low[0]), int(low[1]), int(low[2]))

    def labels(self, shape: tuple[int, ...], numbers: Iterable[int]) -> np.ndarray:
        """The number of the finding of each voxel of a volume, uint16, axes (z, y, x); 0 outside of these findings."""
        shown = np.zeros(len(self.findings) + 1, np.uint16)
        shown[list(numbers)] = list(numbers)
        result = np.zeros(shape, np.uint16)
        result[tuple(self.indices)] = shown[self.numbers]
        return result

    def find(self, voxel: Voxel) -> Finding | None:
        """The finding with this peak, else the one that holds this voxel; None when there is none."""
        for finding in self.findings:
            if finding.peak == voxel and not finding.segment:
                return finding
        here = np.flatnonzero((self.indices == np.reshape(voxel, (3, 1))).all(axis=0))
        number = int(self.numbers[here[0]]) if here.size else 0
        return self.findings[number - 1] if number else None


def setFindings(tableNode: Any, findings: Iterable[Finding]) -> None:
    """Replace the rows of the table."""
    rows = [
        (f.number, f.volumeMl, f.peakScore, f.meanScore, *f.centerRas, f.status, f.side, f.slice, f.segment)
        for f in findings
    ]
    tableNode.RemoveAllColumns()
    for index, (title, unit, arrayType) in enumerate(_COLUMNS):
        column = arrayType()
        column.SetName(title)
        for row in rows:
            column.InsertNextValue(row[index])
        tableNode.AddColumn(column)
        tableNode.SetColumnUnitLabel(title, unit)
    tableNode.SetUseColumnTitleAsColumnHeader(True)
    tableNode.SetLocked(True)


MOST_FINDINGS = 65535  # as many as the engine tells apart in its 16-bit segmentation
MIDDLE = 0.06  # of the width of the brain: nearer to its middle than this, no side is told


class FindingsModel:
    """The findings of one heatmap.

    Args:
        components: Of the heatmap.
        ijkToRas: The heatmap's matrix (4 x 4) from voxel indices (i, j, k) to patient coordinates (R, A, S), mm.
        decisions: What a person decided about the findings.
        scores: The voxels of the heatmap, axes (z, y, x); only needed for edits and for the sides.
    """

    def __init__(
        self, components: Components, ijkToRas: np.ndarray, decisions: Decisions, scores: np.ndarray | None = None
    ) -> None:
        self.components = components
        self.decisions = decisions
        self.ijkToRas = np.asarray(ijkToRas, float)
        self._scores = scores
        self._voxelMl = abs(float(np.linalg.det(self.ijkToRas[:3, :3]))) / 1000.0
        self._spacing = np.linalg.norm(self.ijkToRas[:3, :3], axis=0)[::-1, None]  # z, y, x
        self._sides = _sides(scores, self.ijkToRas)
        self._edits = Edits()
        self._hand: Hand | None = None

    @property
    def edits(self) -> Edits:
        """What a hand changed."""
        return self._edits

    @edits.setter
    def edits(self, edits: Edits) -> None:
        self._edits = edits
        self._hand = Hand(edits, self.components, self._scores) if edits and self._scores is not None else None

    def select(self, threshold: float, minVolumeMl: float) -> Selection:
        """The findings at a threshold (score) that are at least this large."""
        parts = self._parts(threshold)
        sizes = np.bincount(parts.labels, minlength=parts.count)
        sums = np.bincount(parts.labels, weights=parts.scores, minlength=parts.count)
        peaks = np.zeros(parts.count, np.intp)
        # Assigned from the weakest to the strongest: what remains is the strongest.
        peaks[parts.labels[::-1]] = np.arange(len(parts.labels) - 1, -1, -1)
        kept = self._kept(parts, sizes, sums, minVolumeMl)
        centers = self._centers(parts, sizes)[kept]
        findings = []
        for number, (region, center) in enumerate(zip(kept, centers, strict=True), start=1):
            peak, place = _voxel(parts.indices[:, peaks[region]]), int(parts.places[peaks[region]])
            status = self.decisions.statusOf(peak, place if place >= 0 else None)
            findings.append(
                self._finding(
                    number,
                    sizes[region],
                    parts.scores[peaks[region]],
                    sums[region] / sizes[region],
                    parts.indices[:, center],
                    status=ACCEPTED if status == OPEN and region in parts.drawn else status,
                    peak=peak,
                    edited=int(region) in parts.touched,
                )
            )
        numbers = np.zeros(parts.count, np.uint16)
        numbers[kept] = np.arange(1, len(kept) + 1)
        return Selection(tuple(findings), parts.indices, numbers[parts.labels])

    def withOwn(self, selection: Selection, segments: Iterable[tuple[str, np.ndarray]]) -> Selection:
        """A selection with the user's own segments: name and sorted flat voxel indices of each, if it has any."""
        for name, flat in segments:
            if not flat.size or self._scores is None:
                continue
            indices = np.stack(np.unravel_index(flat, self._scores.shape))
            scores = self._scores[tuple(indices)]
            number, center = len(selection.findings) + 1, _central(indices * self._spacing)
            facts = (len(flat), scores.max(), scores.mean(), indices[:, center])
            peak = _voxel(indices[:, int(scores.argmax())])
            own = self._finding(number, *facts, status=ACCEPTED, peak=peak, segment=name or "?", edited=True)
            selection = Selection(
                (*selection.findings, own),
                np.concatenate([selection.indices, indices], axis=1),
                np.concatenate([selection.numbers, np.full(len(flat), number, np.uint16)]),
            )
        return selection

    def _finding(
        self, number: int, size: int, peakScore: float, meanScore: float, center: np.ndarray, **facts: object
    ) -> Finding:
        r, a, s = (self.ijkToRas @ np.append(center[::-1], 1.0))[:3]
        side = ""
        if self._sides is not None:
            left, right = self._sides
            away = (r - (left + right) / 2) / max(right - left, 1e-3)
            side = "middle" if abs(away) < MIDDLE else "right" if away > 0 else "left"
        found = Finding(number, float(size) * self._voxelMl, float(peakScore), float(meanScore), (r, a, s))
        return replace(found, side=side, slice=int(center[0]) + 1, **facts)

    def _parts(self, threshold: float) -> Parts:
        regions = self.components.regions(threshold)
        voxels = len(regions.labels)
        parts = Parts(
            self.components.indices[:, :voxels],
            self.components.scores[:voxels],
            regions.labels,
            np.arange(voxels),
            regions.count,
        )
        return self._hand.change(parts) if self._hand is not None else parts

    def _kept(self, parts: Parts, sizes: np.ndarray, sums: np.ndarray, minVolumeMl: float) -> np.ndarray:
        """The regions that are large enough or drawn, in descending order of volume times mean score."""
        large = sizes >= max(minVolumeMl / self._voxelMl - 1e-6, 1)
        large[list(parts.drawn)] = True
        chosen = np.flatnonzero(large)
        return chosen[np.argsort(-sums[chosen], kind="stable")][:MOST_FINDINGS]

    def _centers(self, parts: Parts, sizes: np.ndarray) -> np.ndarray:
        """For each region, the voxel nearest to its centroid."""
        places = parts.indices * self._spacing
        centroids = np.stack([np.bincount(parts.labels, axis, parts.count) / np.maximum(sizes, 1) for axis in places])
        distances = ((places - centroids[:, parts.labels]) ** 2).sum(axis=0)
        nearest = np.full(parts.count, math.inf)
        np.minimum.at(nearest, parts.labels, distances)
        centers = np.zeros(parts.count, np.intp)
        candidates = np.flatnonzero(distances <= nearest[parts.labels])
        centers[parts.labels[candidates[::-1]]] = candidates[::-1]
        return centers


def _central(places: np.ndarray) -> int:
    """Which of some places, shape (3, n), is nearest to their centroid."""
    return int(((places - places.mean(axis=1, keepdims=True)) ** 2).sum(axis=0).argmin())


def _voxel(index: np.ndarray) -> Voxel:
    return int(index[0]), int(index[1]), int(index[2])


def _sides(scores: np.ndarray | None, ijkToRas: np.ndarray) -> tuple[float, float] | None:
    """Where the brain begins on the left and ends on the right (R), mm: the score is 0 outside of the brain."""
    if scores is None:
        return None
    step = tuple(slice(None, None, max(1, size // 32)) for size in scores.shape)
    inside = np.argwhere(scores[step] > 0) * np.array([one.step for one in step])
    if not inside.size:
        return None
    ras = inside[:, ::-1] @ ijkToRas[0, :3] + ijkToRas[0, 3]
    return float(ras.min()), float(ras.max())
