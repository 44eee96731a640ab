"""The published way to judge (Behrendt et al., arXiv:2312.04215): to compare with the literature, with nothing else.

The absolute residual on the model's grid; the brain mask eroded in each slice; a median of 5 x 5 x 5 voxels; the
threshold chosen with the labels of other patients of the same data set; components of 7 voxels and fewer removed.
Average precision over the whole box, its background included. Mean and standard deviation over five folds.

Where the authors' text and code differ, the code counts: erosion before the median. Their lesion maps were widened by
interpolation (every voxel above 0); here the nearest voxel counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from conddiffusion_uad.evaluation.metrics.voxels import average_precision, dice

FOLDS = 5
MEDIAN = 5  # voxels, the side of its cube
EROSION_SHARE = 25  # the mask is eroded as often as this goes into the height of a slice: thrice at 96 voxels
LARGEST_REMOVED = 7  # voxels of a component
ROUNDS = 10  # of the search for a threshold


@dataclass(frozen=True)
class Volume:
    """A labeled scan as the published protocol sees it.

    Attributes:
        patient: Who is shown.
        residual: After erosion and median, (z, y, x).
        truth: Lesion on the same grid, boolean.
    """

    patient: str
    residual: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Fold:
    """The figures of one fold.

    Attributes:
        threshold: Chosen on the validation patients.
        dice: Mean over the volumes of the test patients; NaN when none of them has lesion.
        average_precision: The same.
    """

    threshold: float
    dice: float
    average_precision: float


def filtered_residual(volume: np.ndarray, reconstruction: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``|x - x_hat|`` inside the eroded mask, median-filtered: float32 (z, y, x) like all arguments."""
    cross = ndimage.generate_binary_structure(2, 1)[None]
    times = mask.shape[1] // EROSION_SHARE
    inside = ndimage.binary_erosion(mask, cross, times) if times else mask
    return ndimage.median_filter(np.abs(volume - reconstruction) * inside, size=MEDIAN).astype(np.float32)


def segment(residual: np.ndarray, threshold: float) -> np.ndarray:
    """Where the residual is above the threshold, without 26-connected components of up to 7 voxels; boolean."""
    labels, _ = ndimage.label(residual > threshold, np.ones((3, 3, 3)))
    return (np.bincount(labels.ravel()) > LARGEST_REMOVED)[labels] & (labels > 0)


def search_threshold(volumes: Sequence[Volume]) -> float:
    """The published search: halve the interval of thresholds ten times, toward the better of its quarter points.

    It assumes that the Dice coefficient of all volumes together has one maximum.
    """
    residual = np.concatenate([volume.residual.ravel() for volume in volumes])
    truth = np.concatenate([volume.truth.ravel() for volume in volumes])
    low, high = 0.0, float(residual.max())
    best, best_threshold = -1.0, high
    for _ in range(ROUNDS):
        quarter, middle = (high - low) / 4, (low + high) / 2
        lower, upper = (dice(residual > t, truth) for t in (low + quarter, high - quarter))
        better = (lower, low + quarter) if lower > upper else (upper, high - quarter)
        if better[0] > best:
            best, best_threshold = better
        low, high = (low, middle) if lower > upper else (middle, high)
    return best_threshold


def run_fold(validation: Sequence[Volume], test: Sequence[Volume]) -> Fold:
    """Choose the threshold on some patients and judge others with it; a patient is never in both."""
    threshold = search_threshold(validation)
    return Fold(
        threshold,
        _mean([dice(segment(volume.residual, threshold), volume.truth) for volume in test if volume.truth.any()]),
        _mean([average_precision(volume.residual, volume.truth) for volume in test]),
    )


def validation_patients(patients: Sequence[str], seed: int = 0) -> list[set[str]]:
    """The patients that choose the threshold in each fold: a fifth of them, another one in each fold.

    Returns:
        As many sets as there are folds: five, or as many as there are patients, if these are fewer.

    Raises:
        ValueError: There is only one patient, so that nobody is left to be judged.
    """
    unique = sorted(set(patients))
    if len(unique) < 2:
        raise ValueError("a threshold cannot be chosen on other patients when there is only one")
    shuffled = np.random.default_rng(seed).permutation(unique)
    return [set(part.tolist()) for part in np.array_split(shuffled, min(FOLDS, len(unique)))]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
