"""The published way to judge (Behrendt et al., arXiv:2312.04215): to compare with the literature, with nothing else.

The absolute residual on the model's grid; the brain mask eroded in each slice; a median of 5 x 5 x 5 voxels; the
threshold chosen with the labels of other patients of the same data set; components of 7 voxels and fewer removed.
Average precision over the whole box, its background included. Mean and standard deviation over five folds.

Where the authors' text and code differ, the code counts: erosion before the median. Their lesion maps were widened by
interpolation (every voxel above 0); here the nearest voxel counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from conddiffusion_uad.evaluation.data.cases import Examined
from conddiffusion_uad.evaluation.metrics.score_counts import count, dice, total
from conddiffusion_uad.evaluation.metrics.statistics import FOLDS
from conddiffusion_uad.evaluation.record import Record

RECONSTRUCTION = ("l1_healthy", "l1_ratio", "ssim", "psnr")
Load = Callable[[Record], "Volume"]


EROSION_SHARE = 25  # the mask is eroded as often as this goes into the height of a slice: thrice at 96 voxels
MEDIAN = 5  # voxels, the side of its cube
LARGEST_REMOVED = 7  # voxels of a component
ROUNDS = 10  # of the search for a threshold


class Volume(NamedTuple):
    """A labeled scan as the published protocol sees it.

    Attributes:
        patient: Who is shown.
        residual: After erosion and median, (z, y, x).
        truth: Lesion on the same grid, boolean.
    """

    patient: str
    residual: np.ndarray
    truth: np.ndarray


class Fold(NamedTuple):
    """The figures of one fold.

    Attributes:
        threshold: Chosen on the validation patients.
        dice: Mean over the volumes of the test patients; None when none of them has lesion.
        average_precision: The same.
    """

    threshold: float
    dice: float | None
    average_precision: float | None


def arrays(examined: Examined, reconstruction: np.ndarray) -> dict[str, np.ndarray]:
    """What is kept of a scan: the filtered residual in half precision, and the truth on the same grid."""
    residual = filtered_residual(examined.volume, reconstruction, examined.mask)
    return {"residual": residual.astype(np.float16), "truth": examined.truth_on_grid()}


def filtered_residual(volume: np.ndarray, reconstruction: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``|x - x_hat|`` inside the eroded mask, median-filtered: float32 (z, y, x) like all arguments."""
    cross = ndimage.generate_binary_structure(2, 1)[None]
    times = mask.shape[1] // EROSION_SHARE
    inside = ndimage.binary_erosion(mask, cross, times) if times else mask
    return ndimage.median_filter(np.abs(volume - reconstruction) * inside, size=MEDIAN).astype(np.float32)


def segment(residual: np.ndarray, threshold: float) -> np.ndarray:
    """Where the residual is above the threshold, without 26-connected components that are too small; boolean."""
    labels, _ = ndimage.label(residual > threshold, np.ones((3, 3, 3)))
    return (np.bincount(labels.ravel()) > LARGEST_REMOVED)[labels] & (labels > 0)


def search_threshold(volumes: Sequence[Volume]) -> float:
    """The published search: halve the interval of thresholds ten times, toward the better of its quarter points.

    It assumes that the Dice coefficient of all volumes together has one maximum.
    """
    counts = total(count(volume.residual, volume.truth) for volume in volumes)
    low, high = 0.0, float(counts.scores[-1])
    best, best_threshold = -1.0, high
    for _ in range(ROUNDS):
        quarter, middle = (high - low) / 4, (low + high) / 2
        lower, upper = (counts.dice_at(np.nextafter(t, np.inf)) or 0.0 for t in (low + quarter, high - quarter))
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
        _mean([count(volume.residual, volume.truth).average_precision() for volume in test]),
    )


def validation_patients(patients: Sequence[str], seed: int = 0) -> list[set[str]]:
    """The patients that choose the threshold in each fold: a fifth of them, another one in each fold.

    Returns:
        As many sets as there are folds: five, or as many as there are patients, if these are fewer.
    """
    unique = sorted(set(patients))
    shuffled = np.random.default_rng(seed).permutation(unique)
    return [set(part.tolist()) for part in np.array_split(shuffled, min(FOLDS, len(unique)))]


def summarize(records: Sequence[Record], load: Load, seed: int) -> dict[str, Any]:
    """The figures of each data set and contrast::

    {"groups": [{"dataset", "contrast", "scans", "patients",
                 "dice", "average_precision": {"mean", "deviation"} over folds, in percent, or null when healthy,
                 "thresholds": of each fold,
                 "reconstruction": {"l1_healthy", "l1_ratio", "ssim", "psnr": mean over scans and bundles}}]}

    Args:
        records: Of all scans and bundles; a scan counts if all bundles have one of it.
    """
    bundles = 1 + max(record.bundle for record in records)
    number = {case: sum(record.case == case for record in records) for case in {record.case for record in records}}
    known = [record for record in records if number[record.case] == bundles]
    keys = list(dict.fromkeys((record.dataset, record.contrast) for record in known))
    groups = ([r for r in known if (r.dataset, r.contrast) == key] for key in keys)
    return {"groups": [_group(group, bundles, load, seed) for group in groups]}


def _group(records: Sequence[Record], bundles: int, load: Load, seed: int) -> dict[str, Any]:
    folds = _folds([record for record in records if record.labeled], bundles, load, seed)
    return {
        "dataset": records[0].dataset,
        "contrast": records[0].contrast,
        "scans": len(records) // bundles,
        "patients": len({record.patient for record in records}),
        "dice": _spread([fold.dice for fold in folds]),
        "average_precision": _spread([fold.average_precision for fold in folds]),
        "thresholds": [fold.threshold for fold in folds],
        "reconstruction": {name: _mean([r.reconstruction[name] for r in records]) for name in RECONSTRUCTION},
    }


def _folds(records: Sequence[Record], bundles: int, load: Load, seed: int) -> list[Fold]:
    """Every fold of a group of labeled scans; none when one patient is all there is."""
    if len({record.patient for record in records}) < 2:
        return []
    folds = []
    for number, chosen in enumerate(validation_patients([record.patient for record in records], seed)):
        volumes = [load(record) for record in records if record.bundle == number % bundles]
        sides = [[v for v in volumes if (v.patient in chosen) == side] for side in (True, False)]
        folds.append(run_fold(*sides))
    return folds


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _spread(values: Sequence[float | None]) -> Mapping[str, float] | None:
    """Mean and standard deviation over folds, in percent as published; None where no fold has a value."""
    known = [100 * value for value in values if value is not None]
    return {"mean": float(np.mean(known)), "deviation": float(np.std(known))} if known else None
