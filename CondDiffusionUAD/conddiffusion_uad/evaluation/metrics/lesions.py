"""Lesion by lesion: which ones are found, how well, and what is found where no lesion is.

A lesion is a 26-connected component of the truth. A finding is what a detection delivers: a 26-connected component of
the scores at or above a threshold that is not too small. A lesion is detected when a finding has a voxel in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from conddiffusion_uad.detection.findings import components
from conddiffusion_uad.method.calibration import threshold as threshold_at

SIZE_BINS_ML: Mapping[str, tuple[float, float]] = {
    "< 0.1 ml": (0.0, 0.1),
    "0.1 - 0.5 ml": (0.1, 0.5),
    "0.5 - 2 ml": (0.5, 2.0),
    "> 2 ml": (2.0, math.inf),
}
"""Smallest volume of a lesion of each size, and that of the next size."""

FROC_THRESHOLDS = tuple(threshold_at(10.0 ** -(1 + step / 4)) for step in range(13))
"""Scores that fractions of 0.1 to 1e-4 of healthy tissue exceed: 1 to 4, four for each power of ten."""

Values = Mapping[str, Any]


def finding_mask(score: np.ndarray, threshold: float, spacing: Sequence[float], min_volume_ml: float) -> np.ndarray:
    """Where a detection has its findings.

    Args:
        score: Anomaly score, (z, y, x), 0 outside the brain.
        threshold: Smallest score of a finding; above 0.
        spacing: (z, y, x) in mm.
        min_volume_ml: Smallest volume of a finding in ml.

    Returns:
        Boolean, same shape.
    """
    return _findings(score, threshold, spacing, min_volume_ml) > 0


def lesions(truth: np.ndarray, score: np.ndarray, flagged: np.ndarray, voxel_ml: float) -> list[dict[str, Any]]:
    """Every lesion of a scan; a healthy one has none.

    Args:
        truth: Whether a voxel is lesion, boolean, (z, y, x).
        score: Anomaly score, same shape.
        flagged: Whether a voxel belongs to a finding, boolean, same shape; see :func:`finding_mask`.
        voxel_ml: Volume of a voxel in ml.

    Returns:
        Of each lesion ``ml``; ``peak``, its highest score; ``detected``; and ``iou``, the intersection over union with
        all findings that have a voxel in it together, 0 when it is not detected.
    """
    if not truth.any():
        return []
    finding_of = _labeled(flagged)
    finding_sizes = np.bincount(finding_of.ravel())
    lesion_of, finding_of = _labeled(truth)[truth], finding_of[truth]  # flat: what lies elsewhere does not matter
    sizes = np.bincount(lesion_of)
    numbers = np.arange(1, len(sizes))
    peaks = ndimage.maximum(score[truth], lesion_of, numbers)
    both = finding_of > 0
    common = np.bincount(lesion_of[both], minlength=len(sizes))
    # The findings that touch a lesion hold all that is flagged of it, so `common` is its intersection with all of them.
    touching = np.unique(np.stack([lesion_of[both], finding_of[both]]), axis=1)
    found = np.bincount(touching[0], finding_sizes[touching[1]], minlength=len(sizes))
    return [
        {
            "ml": float(sizes[i] * voxel_ml),
            "peak": float(peaks[i - 1]),
            "detected": bool(common[i]),
            "iou": float(common[i] / (sizes[i] + found[i] - common[i])),
        }
        for i in numbers
    ]


def false_findings(flagged: np.ndarray, truth: np.ndarray, voxel_ml: float) -> tuple[int, float]:
    """Number and volume in ml of the findings without a voxel in any lesion; the arguments are :func:`lesions`'."""
    finding_of = _labeled(flagged)
    sizes = np.bincount(finding_of.ravel())
    sizes[np.unique(finding_of[truth])] = 0
    sizes[0] = 0
    return int(np.count_nonzero(sizes)), float(sizes.sum() * voxel_ml)


def froc_points(
    score: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float],
    min_volume_ml: float,
    thresholds: Sequence[float] = FROC_THRESHOLDS,
) -> list[dict[str, Any]]:
    """What the findings of a scan get right and wrong at each threshold, the rule for small ones included.

    Args:
        score: Anomaly score, (z, y, x), 0 outside the brain.
        truth: Whether a voxel is lesion, boolean, same shape.
        spacing: (z, y, x) in mm.
        min_volume_ml: Smallest volume of a finding in ml.
        thresholds: Smallest scores of a finding; above 0.

    Returns:
        Of each threshold ``threshold``, ``false_findings`` (without a voxel in any lesion) and ``detected`` (lesions).
    """
    anything = (score >= min(thresholds)) | truth
    if anything.any():
        box = ndimage.find_objects(anything.astype(np.uint8))[0]
        score, truth = score[box], truth[box]
    lesion_of = _labeled(truth)[truth]
    points = []
    for threshold in thresholds:
        finding_of = _findings(score, threshold, spacing, min_volume_ml)
        touching = finding_of[truth]
        hit = len(np.unique(touching[touching > 0]))
        detected = len(np.unique(lesion_of[touching > 0]))
        points.append({"threshold": threshold, "false_findings": int(finding_of.max()) - hit, "detected": detected})
    return points


def froc(scans: Sequence[tuple[int, Sequence[Values]]]) -> list[dict[str, Any]]:
    """The free-response curve (FROC) of many scans: share of all lesions detected against false findings a scan.

    Bunch et al., A free response approach to the measurement and characterization of radiographic observer
    performance, 1977.

    Args:
        scans: Of each its number of lesions, 0 if healthy, and its :func:`froc_points`.

    Returns:
        Of each threshold ``threshold``, ``false_findings``, the mean a scan, and ``recall``, None without any lesion.

    Raises:
        ValueError: The scans were not measured at the same thresholds.
    """
    total = sum(number for number, _ in scans)
    curve = []
    for at_threshold in zip(*(points for _, points in scans), strict=True):
        if len({point["threshold"] for point in at_threshold}) > 1:
            raise ValueError("The scans were not measured at the same thresholds.")
        curve.append(
            {
                "threshold": at_threshold[0]["threshold"],
                "false_findings": sum(point["false_findings"] for point in at_threshold) / len(at_threshold),
                "recall": sum(point["detected"] for point in at_threshold) / total if total else None,
            }
        )
    return curve


def recall_by_size(found: Iterable[Values]) -> list[dict[str, Any]]:
    """How many lesions of each size are detected: ``size`` of :data:`SIZE_BINS_ML`, ``hits`` and ``total``."""
    found = list(found)
    counts = []
    for name, (low, high) in SIZE_BINS_ML.items():
        detected = [lesion["detected"] for lesion in found if low <= lesion["ml"] < high]
        counts.append({"size": name, "hits": sum(detected), "total": len(detected)})
    return counts


def _findings(score: np.ndarray, threshold: float, spacing: Sequence[float], min_volume_ml: float) -> np.ndarray:
    """The finding's number of each voxel, from 1 without gaps; 0 where there is none."""
    image = sitk.GetImageFromArray(score)
    image.SetSpacing([float(step) for step in reversed(spacing)])
    return sitk.GetArrayFromImage(components(image, threshold, min_volume_ml))


def _labeled(mask: np.ndarray) -> np.ndarray:
    """The number of the 26-connected component of each voxel; 0 where there is none."""
    return sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
