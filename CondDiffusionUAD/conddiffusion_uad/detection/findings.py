"""Findings: what lies connected above the threshold and is not too small."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

MOST_FINDINGS = int(np.iinfo(np.uint16).max)
"""What the numbers of a 16-bit segmentation can tell apart; findings beyond are the weakest and are dropped."""

COLUMNS = ("number", "volume_ml", "peak_score", "mean_score", "centre_r_mm", "centre_a_mm", "centre_s_mm")


@dataclass(frozen=True)
class Finding:
    """One region that does not look healthy.

    Attributes:
        number: From 1; its label in the segmentation.
        volume_ml: Volume in ml.
        peak_score: Largest anomaly score in it.
        mean_score: Mean anomaly score in it.
        centre_ras: The voxel of the finding nearest to its centroid, so never outside of it: (R, A, S) in mm.
    """

    number: int
    volume_ml: float
    peak_score: float
    mean_score: float
    centre_ras: tuple[float, float, float]


def components(score: sitk.Image, threshold: float, min_volume_ml: float) -> sitk.Image:
    """The 26-connected components of `score >= threshold` that are at least `min_volume_ml` large.

    Args:
        score: Anomaly score, 3-D, on any grid.
        threshold: Smallest score of a component.
        min_volume_ml: Smallest volume in ml.

    Returns:
        On the grid of `score`, 0 or the component's number: from 1 without gaps, in no order that means something.
    """
    fewest = math.ceil(min_volume_ml / voxel_volume_ml(score) - 1e-6)
    flagged = sitk.BinaryThreshold(score, threshold, float("inf"))
    return sitk.RelabelComponent(sitk.ConnectedComponent(flagged, True), max(fewest, 0), False)


def voxel_volume_ml(image: sitk.Image) -> float:
    """Volume of one voxel in ml."""
    return float(np.prod(image.GetSpacing())) / 1000.0


def find(score: sitk.Image, threshold: float, min_volume_ml: float) -> tuple[sitk.Image, list[Finding]]:
    """The :func:`components` of a score as findings.

    They are numbered by decreasing volume times mean score, so that the first is the one most worth a look:
    the peak alone would put a single bright voxel first, the volume alone a large faint shadow.

    Args:
        score: Anomaly score, 3-D, on any grid.
        threshold: Smallest score of a finding; above 0.
        min_volume_ml: Smallest volume in ml.

    Returns:
        The segmentation (uint16, 0 or a finding's number) on the grid of `score`, and the findings in their order.
    """
    labeled = components(score, threshold, min_volume_ml)
    statistics = sitk.LabelIntensityStatisticsImageFilter()
    statistics.Execute(labeled, score)
    voxel_ml = voxel_volume_ml(score)
    labels = sorted(statistics.GetLabels(), key=lambda label: (-statistics.GetSum(label), label))[:MOST_FINDINGS]

    array = sitk.GetArrayViewFromImage(labeled)
    findings = [
        Finding(
            number=number,
            volume_ml=statistics.GetNumberOfPixels(label) * voxel_ml,
            peak_score=statistics.GetMaximum(label),
            mean_score=statistics.GetMean(label),
            centre_ras=_centre_ras(score, array, label, statistics),
        )
        for number, label in enumerate(labels, start=1)
    ]
    numbers = np.zeros(int(array.max()) + 1, np.uint16)
    numbers[labels] = np.arange(1, len(labels) + 1)
    segmentation = sitk.GetImageFromArray(numbers[array])
    segmentation.CopyInformation(score)
    return segmentation, findings


def write_table(findings: Sequence[Finding], path: Path) -> None:
    """Write the findings as comma-separated values, one finding a row, with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(row(finding) for finding in findings)


def row(finding: Finding) -> tuple[int | float, ...]:
    """The values of a finding under `COLUMNS`, rounded to what they can mean."""
    return (
        finding.number,
        round(finding.volume_ml, 4),
        round(finding.peak_score, 3),
        round(finding.mean_score, 3),
        *(round(coordinate, 2) for coordinate in finding.centre_ras),
    )


def _centre_ras(
    score: sitk.Image, array: np.ndarray, label: int, statistics: sitk.LabelIntensityStatisticsImageFilter
) -> tuple[float, float, float]:
    """The voxel of one component nearest to its centroid, in RAS mm; `array` is the components, (z, y, x)."""
    box = statistics.GetBoundingBox(label)  # x, y, z, size x, size y, size z
    low, high = np.array(box[:3]), np.array(box[:3]) + box[3:]
    window = array[tuple(slice(*ends) for ends in zip(low[::-1], high[::-1], strict=True))]
    indices = np.argwhere(window == label)[:, ::-1] + low
    middle = np.array(score.TransformPhysicalPointToContinuousIndex(statistics.GetCentroid(label)))
    distances = (((indices - middle) * score.GetSpacing()) ** 2).sum(axis=1)
    x, y, z = score.TransformIndexToPhysicalPoint([int(i) for i in indices[distances.argmin()]])
    return (-x, -y, z)
