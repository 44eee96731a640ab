"""Lesion by lesion: which ones are found, how well, and what is found where no lesion is.

A lesion is a 26-connected component of the truth. A finding is what a detection delivers: a 26-connected component of
the scores at or above a threshold that is not too small. A lesion is detected when a finding has a voxel in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from conddiffusion_uad.bundle.calibration import threshold as threshold_at
from conddiffusion_uad.detection.findings import components


@dataclass(frozen=True)
class SizeBin:
    """Lesions of `low_ml` to less than `high_ml`."""

    name: str
    low_ml: float
    high_ml: float


SIZE_BINS = (
    SizeBin("< 0.1 ml", 0.0, 0.1),
    SizeBin("0.1 - 0.5 ml", 0.1, 0.5),
    SizeBin("0.5 - 2 ml", 0.5, 2.0),
    SizeBin("> 2 ml", 2.0, math.inf),
)

FROC_THRESHOLDS = tuple(threshold_at(10.0 ** -(1 + step / 4)) for step in range(13))
"""Scores that fractions of 0.1 to 1e-4 of healthy tissue exceed: 1 to 4, four for each power of ten."""


@dataclass(frozen=True)
class Lesion:
    """One lesion and what was found of it.

    Attributes:
        ml: Volume in ml.
        peak: Highest score in it.
        detected: Whether a finding has a voxel in it.
        iou: Intersection over union with all findings that have a voxel in it together; 0 when not detected.
    """

    ml: float
    peak: float
    detected: bool
    iou: float


@dataclass(frozen=True)
class FalseFindings:
    """Findings without a voxel in any lesion: how many, and their volume in ml."""

    count: int
    ml: float


@dataclass(frozen=True)
class FrocPoint:
    """What findings at a threshold get right and wrong in one scan.

    Attributes:
        threshold: Smallest score of a finding.
        false_findings: Number of findings without a voxel in any lesion.
        detected: Number of lesions that are detected.
    """

    threshold: float
    false_findings: int
    detected: int


@dataclass(frozen=True)
class FrocMean:
    """A point of a free-response curve (FROC) of many scans.

    Attributes:
        threshold: Smallest score of a finding.
        false_findings: Mean number of false findings a scan.
        recall: Share of all lesions that is detected; None when there is no lesion.
    """

    threshold: float
    false_findings: float
    recall: float | None


def finding_mask(score: np.ndarray, threshold: float, spacing: Sequence[float], min_volume_ml: float) -> np.ndarray:
    """Where a detection has its findings.

    Args:
        score: Anomaly score, (z, y, x), 0 outside the brain; a single slice is (1, y, x).
        threshold: Smallest score of a finding; above 0.
        spacing: (z, y, x) in mm.
        min_volume_ml: Smallest volume of a finding in ml.

    Returns:
        Boolean, same shape.
    """
    return _findings(score, threshold, spacing, min_volume_ml) > 0


def lesions(truth: np.ndarray, score: np.ndarray, flagged: np.ndarray, voxel_ml: float) -> list[Lesion]:
    """Every lesion of a scan; a healthy one has none.

    Args:
        truth: Whether a voxel is lesion, boolean, (z, y, x).
        score: Anomaly score, same shape.
        flagged: Whether a voxel belongs to a finding, boolean, same shape; see :func:`finding_mask`.
        voxel_ml: Volume of a voxel in ml.
    """
    if not truth.any():
        return []
    finding_of = _labeled(flagged)
    finding_sizes = np.bincount(finding_of.ravel())
    lesion_of, finding_of = _labeled(truth)[truth], finding_of[truth]  # flat: what lies elsewhere does not matter
    lesion_sizes = np.bincount(lesion_of)
    numbers = np.arange(1, len(lesion_sizes))
    peaks = ndimage.maximum(score[truth], lesion_of, numbers)
    both = finding_of > 0
    common = np.bincount(lesion_of[both], minlength=len(lesion_sizes))
    # The findings that touch a lesion hold all that is flagged of it, so `common` is its intersection with all of them.
    touching = np.unique(np.stack([lesion_of[both], finding_of[both]]), axis=1)
    found = np.bincount(touching[0], finding_sizes[touching[1]], minlength=len(lesion_sizes))
    return [
        Lesion(
            ml=float(lesion_sizes[i] * voxel_ml),
            peak=float(peaks[i - 1]),
            detected=bool(common[i]),
            iou=float(common[i] / (lesion_sizes[i] + found[i] - common[i])),
        )
        for i in numbers
    ]


def false_findings(flagged: np.ndarray, truth: np.ndarray, voxel_ml: float) -> FalseFindings:
    """Findings without a voxel in any lesion; the arguments are those of :func:`lesions`."""
    finding_of = _labeled(flagged)
    sizes = np.bincount(finding_of.ravel())
    sizes[np.unique(finding_of[truth])] = 0
    sizes[0] = 0
    return FalseFindings(int(np.count_nonzero(sizes)), float(sizes.sum() * voxel_ml))


def froc_points(
    score: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float],
    min_volume_ml: float,
    thresholds: Sequence[float] = FROC_THRESHOLDS,
) -> list[FrocPoint]:
    """What the findings of a scan get right and wrong at each threshold, the rule for small ones included.

    Args:
        score: Anomaly score, (z, y, x), 0 outside the brain.
        truth: Whether a voxel is lesion, boolean, same shape.
        spacing: (z, y, x) in mm.
        min_volume_ml: Smallest volume of a finding in ml.
        thresholds: Smallest scores of a finding; above 0.
    """
    anything = (score >= min(thresholds)) | truth
    if not anything.any():
        return [FrocPoint(threshold, 0, 0) for threshold in thresholds]
    box = ndimage.find_objects(anything.astype(np.uint8))[0]
    score, truth = score[box], truth[box]
    lesion_of = _labeled(truth)[truth]
    points = []
    for threshold in thresholds:
        finding_of = _findings(score, threshold, spacing, min_volume_ml)
        touching = finding_of[truth]
        hit = len(np.unique(touching[touching > 0]))
        detected = len(np.unique(lesion_of[touching > 0]))
        points.append(FrocPoint(threshold, int(finding_of.max()) - hit, detected))
    return points


def froc(lesion_numbers: Sequence[int], points: Sequence[Sequence[FrocPoint]]) -> list[FrocMean]:
    """The free-response curve of many scans: share of all lesions detected against false findings a scan.

    Bunch et al., A free response approach to the measurement and characterization of radiographic observer
    performance, 1977.

    Args:
        lesion_numbers: How many lesions each scan has; healthy scans have 0.
        points: Of each scan, same length, at the same thresholds.

    Raises:
        ValueError: The lengths or the thresholds differ.
    """
    if len(lesion_numbers) != len(points):
        raise ValueError(f"{len(lesion_numbers)} numbers of lesions belong to {len(points)} scans.")
    total = sum(lesion_numbers)
    curve = []
    for at_threshold in zip(*points, strict=True):
        if len({point.threshold for point in at_threshold}) > 1:
            raise ValueError("The scans were not measured at the same thresholds.")
        recall = sum(point.detected for point in at_threshold) / total if total else None
        false = sum(point.false_findings for point in at_threshold) / len(at_threshold)
        curve.append(FrocMean(at_threshold[0].threshold, false, recall))
    return curve


def recall_by_size(found: Iterable[Lesion]) -> dict[str, tuple[int, int]]:
    """How many lesions of each of :data:`SIZE_BINS` are detected, and how many there are, by the bin's name."""
    found = list(found)
    counts = {}
    for size in SIZE_BINS:
        detected = [lesion.detected for lesion in found if size.low_ml <= lesion.ml < size.high_ml]
        counts[size.name] = (sum(detected), len(detected))
    return counts


def _findings(score: np.ndarray, threshold: float, spacing: Sequence[float], min_volume_ml: float) -> np.ndarray:
    """The finding's number of each voxel, from 1 without gaps; 0 where there is none."""
    image = sitk.GetImageFromArray(score)
    image.SetSpacing([float(step) for step in reversed(spacing)])
    return sitk.GetArrayFromImage(components(image, threshold, min_volume_ml))


def _labeled(mask: np.ndarray) -> np.ndarray:
    """The number of the 26-connected component of each voxel; 0 where there is none."""
    return sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
