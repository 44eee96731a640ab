"""How good a learned map is now: average precision, findings in healthy scans, lesions found, beside the baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from conddiffusion_uad.evaluation.learned_map.cases import Case
from conddiffusion_uad.evaluation.metrics.voxels import average_precision
from conddiffusion_uad.method.anomaly_map.learned import LearnedMap
from conddiffusion_uad.method.intensity import rank_normalized
from conddiffusion_uad.training.data.healthy_bank import FINE

VOXEL_ML = 0.002
_LEAST_ML = 0.05  # of a finding
_SINGLE = round((18.0 - FINE.origin[2]) / FINE.spacing[2])  # the slice of the fine grid that single slices are near
_SIZES = {"0.1-0.5 ml": (0.1, 0.5), "above 0.5 ml": (0.5, float("inf"))}
Map = Callable[[Case], np.ndarray]


def rank_map(case: Case) -> np.ndarray:
    """Rank-normalized intensity, smoothed by a pixel; inverted on T1: what needs no model."""
    volume = case.volume.astype(np.float32)
    smooth = ndimage.gaussian_filter(volume, (0, 1, 1) if case.single else (0.5, 1, 1))
    stacks = (
        [(smooth[k, None], case.mask[k, None]) for k in range(len(smooth))] if case.single else [(smooth, case.mask)]
    )
    rank = np.concatenate([rank_normalized(-v if case.contrast == "T1" else v, m) for v, m in stacks])
    return rank * case.mask


def heat_map(case: Case) -> np.ndarray:
    """The bundle's own map."""
    return case.heat.astype(np.float32)


def learned_map(model: LearnedMap, reconstructed: bool) -> Map:
    """A learned map, with or without the reconstructions."""

    def score(case: Case) -> np.ndarray:
        heights = np.full(len(case.volume), _SINGLE) if case.single else None
        samples = case.samples if reconstructed else None
        return model(case.volume, case.mask, case.contrast, samples, heights, case.single)

    return score


def measured(cases: Sequence[tuple[str, Case]], score: Map, threshold: float | None) -> dict[str, float]:
    """Figures of one map.

    Args:
        cases: Their names, and they.
        score: The map.
        threshold: At which findings in healthy scans are counted; None leaves that out.

    Returns:
        Mean average precision ("AP group contrast"), findings and ml in healthy scans, and of implanted lesions the
        share found where the same kind of scan has one finding without them.
    """
    precisions: dict[str, list[float]] = defaultdict(list)
    healthy: dict[str, list[np.ndarray]] = defaultdict(list)
    implanted: dict[str, list[tuple[Case, np.ndarray]]] = defaultdict(list)
    for _, case in cases:
        found = score(case)
        if case.group == "healthy":
            healthy[case.contrast].append(_stacked(found, case))
            continue
        for part, lesions, mask in _parts(found, case):
            if (lesions > 0).any():
                precisions[f"AP {case.group} {case.contrast}"].append(average_precision(part[mask], lesions[mask] > 0))
        if case.group == "implanted" and not case.single:
            implanted[case.contrast].append((case, found))
    result = {name: float(np.mean(values)) for name, values in precisions.items()}
    for contrast, maps in healthy.items():
        if threshold is not None:
            counts = [_findings(m, threshold) for m in maps if m.ndim == 3]
            result[f"findings healthy {contrast}"] = float(np.median([len(c) for c in counts])) if counts else 0.0
            result[f"ml healthy {contrast}"] = float(np.median([c.sum() for c in counts])) if counts else 0.0
        result.update(_sensitivity(contrast, maps, implanted[contrast]))
    return result


def _parts(found: np.ndarray, case: Case):
    if case.single:
        return zip(found, case.lesions, case.mask, strict=True)
    return [(found[::2], case.lesions[::2], case.mask[::2])]


def _stacked(found: np.ndarray, case: Case) -> np.ndarray:
    """Single slices with an empty one between them, so that no finding spans two."""
    if not case.single:
        return found
    apart = np.zeros((2 * len(found), *found.shape[1:]), found.dtype)
    apart[::2] = found
    return apart


def _findings(found: np.ndarray, threshold: float) -> np.ndarray:
    """Volumes, ml, of the connected findings above a threshold that are not too small."""
    flagged = sitk.GetImageFromArray((found > threshold).astype(np.uint8))
    labels = sitk.GetArrayViewFromImage(sitk.ConnectedComponent(flagged, True))
    sizes = np.bincount(labels.ravel())[1:] * VOXEL_ML
    return sizes[sizes >= _LEAST_ML]


def _sensitivity(
    contrast: str, healthy: list[np.ndarray], implanted: list[tuple[Case, np.ndarray]]
) -> Mapping[str, float]:
    """Share of implanted lesions found, by size, at the lowest threshold with one finding a healthy scan or fewer."""
    volumes = [m for m in healthy if m.shape[0] == 80]
    if not volumes or not implanted:
        return {}
    levels = np.unique(np.quantile(np.concatenate([m[m > 0] for m in volumes]), 1 - np.geomspace(0.1, 1e-5, 40)))
    quiet = [t for t in levels if np.mean([len(_findings(m, t)) for m in volumes]) <= 1]
    threshold = quiet[0] if quiet else levels[-1]
    hits: dict[str, list[bool]] = {name: [] for name in _SIZES}
    for case, found in implanted:
        sizes = np.bincount(case.lesions.ravel(), minlength=1) * VOXEL_ML
        for number in np.flatnonzero(sizes)[1:]:
            for name, (low, high) in _SIZES.items():
                if low <= sizes[number] < high:
                    hits[name].append(bool((found[case.lesions == number] > threshold).any()))
    return {f"found {contrast} {name}": float(np.mean(values)) for name, values in hits.items() if values}
