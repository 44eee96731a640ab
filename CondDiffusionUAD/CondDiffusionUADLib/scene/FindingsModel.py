"""From the anomaly score to the findings at any threshold and smallest volume, by the engine's rules, at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from CondDiffusionUADLib.run.DetectionOutput import Finding
from CondDiffusionUADLib.scene.Components import Components, Regions
from CondDiffusionUADLib.scene.Decisions import REJECTED, Decisions

MOST_FINDINGS = 65535  # as many as the engine tells apart in its 16-bit segmentation


@dataclass(frozen=True)
class Selection:
    """The findings at one threshold and smallest volume.

    Attributes:
        findings: Most important first, also those that were rejected.
        mask: uint8, axes (z, y, x): 1 inside the findings that were not rejected; only the box that holds them all.
        offset: Voxel index (z, y, x) of the first voxel of the box.
        numbers: For each voxel of the components above the threshold, the number of its finding; 0 for none.
    """

    findings: tuple[Finding, ...]
    mask: np.ndarray
    offset: tuple[int, int, int]
    numbers: np.ndarray


class FindingsModel:
    """The findings of one heatmap.

    Args:
        components: Of the heatmap.
        ijkToRas: The heatmap's matrix (4 x 4) from voxel indices (i, j, k) to patient coordinates (R, A, S), mm.
        decisions: What a person decided about the findings.
    """

    def __init__(self, components: Components, ijkToRas: np.ndarray, decisions: Decisions) -> None:
        self.components = components
        self.decisions = decisions
        self._ijkToRas = np.asarray(ijkToRas, float)
        self._voxelMl = abs(float(np.linalg.det(self._ijkToRas[:3, :3]))) / 1000.0
        self._spacing = np.linalg.norm(self._ijkToRas[:3, :3], axis=0)[::-1, None]  # z, y, x

    def select(self, threshold: float, minVolumeMl: float) -> Selection:
        """The findings at a threshold (score) that are at least this large."""
        regions = self.components.regions(threshold)
        kept = self._kept(regions, minVolumeMl)
        centers = self._centers(regions, kept)
        findings = tuple(
            Finding(
                number=number,
                volumeMl=float(regions.sizes[region]) * self._voxelMl,
                peakScore=float(self.components.scores[regions.peaks[region]]),
                meanScore=float(regions.sums[region] / regions.sizes[region]),
                centerRas=self._ras(self.components.indices[:, center]),
                status=self.decisions.statusOf(int(regions.peaks[region])),
            )
            for number, (region, center) in enumerate(zip(kept, centers, strict=True), start=1)
        )
        numbers = np.zeros(regions.count, np.uint16)
        numbers[kept] = np.arange(1, len(kept) + 1)
        shown = numbers > 0
        shown[[region for region, finding in zip(kept, findings, strict=True) if finding.status == REJECTED]] = False
        mask, offset = self._mask(shown[regions.labels])
        return Selection(findings, mask, offset, numbers[regions.labels])

    def decide(self, threshold: float, minVolumeMl: float, number: int, status: str) -> None:
        """Accept, reject or open again the finding of that number at this threshold and smallest volume."""
        regions = self.components.regions(threshold)
        region = self._kept(regions, minVolumeMl)[number - 1]
        self.decisions.decide(int(regions.peaks[region]), threshold, status)

    def _kept(self, regions: Regions, minVolumeMl: float) -> np.ndarray:
        """The regions that are large enough, in descending order of volume times mean score."""
        fewest = minVolumeMl / self._voxelMl - 1e-6
        large = np.flatnonzero(regions.sizes >= fewest)
        return large[np.argsort(-regions.sums[large], kind="stable")][:MOST_FINDINGS]

    def _centers(self, regions: Regions, kept: np.ndarray) -> np.ndarray:
        """For each kept region, the place of its voxel nearest to its centroid."""
        places = self.components.indices[:, : len(regions.labels)] * self._spacing
        sizes = np.maximum(regions.sizes, 1)
        centroids = np.stack([np.bincount(regions.labels, axis, regions.count) / sizes for axis in places])
        distances = ((places - centroids[:, regions.labels]) ** 2).sum(axis=0)
        nearest = np.full(regions.count, math.inf)
        np.minimum.at(nearest, regions.labels, distances)
        centers = np.zeros(regions.count, np.intp)
        candidates = np.flatnonzero(distances <= nearest[regions.labels])
        centers[regions.labels[candidates[::-1]]] = candidates[::-1]
        return centers[kept]

    def _ras(self, zyx: np.ndarray) -> tuple[float, float, float]:
        r, a, s = (self._ijkToRas @ np.append(zyx[::-1], 1.0))[:3]
        return float(r), float(a), float(s)

    def _mask(self, shown: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
        inside = np.flatnonzero(shown)
        if not inside.size:
            return np.zeros((1, 1, 1), np.uint8), (0, 0, 0)
        voxels = self.components.indices[:, inside]
        low = voxels.min(axis=1)
        mask = np.zeros(voxels.max(axis=1) - low + 1, np.uint8)
        mask[tuple(voxels - low[:, None])] = 1
        return mask, (int(low[0]), int(low[1]), int(low[2]))
