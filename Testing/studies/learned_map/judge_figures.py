"""How good a learned map is now: average precision, findings in healthy scans, lesions found, beside the baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from judge_cases import Case, halved_scan
from scipy import ndimage

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.bundle.expected_findings import findings, measure
from conddiffusion_uad.evaluation.methods import asymmetry, blur_residual, robust_z
from conddiffusion_uad.evaluation.metrics.score_counts import count
from conddiffusion_uad.method.anomaly_map.learned import LearnedMap
from conddiffusion_uad.method.anomaly_map.residual import Residual
from conddiffusion_uad.method.intensity import rank_normalized
from conddiffusion_uad.training.data.healthy_bank import FINE

VOXEL_ML = 0.002
LEAST_ML = 0.05  # of a finding
_NEIGHBORS = np.ones((3, 3, 3))  # voxels touch at a corner, too
SINGLE = round((18.0 - FINE.origin[2]) / FINE.spacing[2])
"""The slice of the fine grid that single slices are near."""
_SIZES = {"0.1-0.5 ml": (0.1, 0.5), "above 0.5 ml": (0.5, float("inf"))}
Map = Callable[[Case], np.ndarray]


def rank_map(case: Case) -> np.ndarray:
    """Rank-normalized intensity, smoothed by a pixel; inverted on T1: what needs no model."""
    sign = -1 if case.contrast == "T1" else 1
    return _smoothed(case, lambda volume, mask: rank_normalized(sign * volume, mask))


def _smoothed(case: Case, rule: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """What a rule makes of a smoothed scan (z, y, x) and its mask, or of each single slice."""
    volume = case.volume.astype(np.float32)
    smooth = ndimage.gaussian_filter(volume, (0, 1, 1) if case.single else (0.5, 1, 1))
    stacks = (
        [(smooth[k, None], case.mask[k, None]) for k in range(len(smooth))] if case.single else [(smooth, case.mask)]
    )
    return np.concatenate([rule(*stack) for stack in stacks]) * case.mask


def heat_map(case: Case) -> np.ndarray:
    """The bundle's own map."""
    return case.heat.astype(np.float32)


PLAIN: Mapping[str, Map] = {
    "rank": rank_map,
    "robust z-score": lambda case: _smoothed(case, robust_z),
    "blur residual": lambda case: _smoothed(case, blur_residual),
    "asymmetry": lambda case: _smoothed(case, lambda volume, mask: asymmetry(volume, mask, FINE)),
    "residual": heat_map,
}
"""What a map has to be better than: plain looks at the smoothed intensities, and the map of the denoiser's bundle."""


def residual_map(bundle: Bundle) -> Map:
    """The residual of a bundle, of the reconstructions that the learned map sees, made at 2 mm."""

    def score(case: Case) -> np.ndarray:
        rule = bundle.method.anomaly_map[case.contrast]
        assert isinstance(rule, Residual)
        scan, inside = halved_scan(case.volume.astype(np.float32), case.mask)
        mean = case.samples.astype(np.float32).mean(0) * inside
        stacks = list(zip(scan[:, None], mean[:, None], inside[:, None], strict=True))
        parts = [rule.between(*stack) for stack in (stacks if case.single else [(scan, mean, inside)])]
        return np.concatenate(parts).repeat(2, 1).repeat(2, 2) * case.mask

    return score


def unbounded(probability: np.ndarray) -> np.ndarray:
    """``-log(1 - p)``, as the map ``learned`` gives it."""
    return -np.log1p(-np.minimum(probability, np.float32(1 - 1e-6)))


def learned_map(model: LearnedMap, reconstructed: bool) -> Map:
    """A learned map, with or without the reconstructions."""

    def score(case: Case) -> np.ndarray:
        heights = np.full(len(case.volume), SINGLE) if case.single else None
        samples = case.samples if reconstructed else None
        return model(case.volume, case.mask, case.contrast, samples, heights, case.single)

    return score


def remembered(score: Map) -> Map:
    """The same map, computed once for each case."""
    known: dict[int, np.ndarray] = {}

    def found(case: Case) -> np.ndarray:
        if id(case) not in known:
            known[id(case)] = score(case)
        return known[id(case)]

    return found


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
        for part, lesions, mask in _parts(found, case):
            if lesions.any():
                precision = count(part[mask], lesions[mask] > 0).average_precision()
                precisions[f"AP {case.group} {case.contrast}"].append(precision)
        if not case.single and case.group == "healthy":
            healthy[case.contrast].append(found)
        if not case.single and case.group == "implanted":
            implanted[case.contrast].append((case, found))
    result = {name: float(np.mean(values)) for name, values in precisions.items()}
    for contrast, maps in healthy.items():
        if threshold is not None:
            volumes = [findings(found, threshold, VOXEL_ML, LEAST_ML) for found in maps]
            result[f"findings healthy {contrast}"] = float(np.median([len(v) for v in volumes]))
            result[f"ml healthy {contrast}"] = float(np.median([v.sum() for v in volumes]))
        result.update(_sensitivity(contrast, maps, implanted[contrast]))
    return result


def _parts(found: np.ndarray, case: Case):
    if case.single:
        return zip(found, case.lesions, case.mask, strict=True)
    return [(found[::2], case.lesions[::2], case.mask[::2])]


def _sensitivity(
    contrast: str, healthy: list[np.ndarray], implanted: list[tuple[Case, np.ndarray]]
) -> Mapping[str, float]:
    """Share of implanted lesions found, by size, where a healthy scan still has one finding or fewer."""
    if not implanted:
        return {}
    threshold = measure(healthy, VOXEL_ML, LEAST_ML).threshold(1.0)
    hits: dict[str, list[bool]] = {name: [] for name in _SIZES}
    for case, found in implanted:
        sizes = np.bincount(case.lesions.ravel(), minlength=1) * VOXEL_ML
        for number in np.flatnonzero(sizes)[1:]:
            for name, (low, high) in _SIZES.items():
                if low <= sizes[number] < high:
                    hits[name].append(bool((found[case.lesions == number] >= threshold).any()))
    return {f"found {contrast} {name}": float(np.mean(values)) for name, values in hits.items() if values}


def findings_from(score: np.ndarray, lesions: np.ndarray, threshold: float) -> dict[str, Any]:
    """What is flagged of a scan from a threshold on: Dice, its lesions, and what is false.

    Args:
        score: (z, y, x), 0 outside the brain.
        lesions: Number of the lesion at each voxel, same shape.
    """
    labels, _ = ndimage.label(score >= threshold, _NEIGHBORS)
    large = np.flatnonzero(np.bincount(labels.ravel()) * VOXEL_ML >= LEAST_ML)[1:]
    flagged, sick = np.isin(labels, large), lesions > 0
    true = np.unique(labels[sick & flagged])
    sizes = np.bincount(lesions.ravel()) * VOXEL_ML
    hits = np.bincount(lesions[flagged].ravel(), minlength=len(sizes)) > 0
    return {
        "Dice": 2 * float((flagged & sick).sum()) / float(flagged.sum() + sick.sum()),
        "lesions": [[round(float(sizes[n]), 3), bool(hits[n])] for n in np.flatnonzero(sizes)[1:]],
        "false findings": len(large) - len(true),
        "false ml": round(float((flagged & ~np.isin(labels, true)).sum() * VOXEL_ML), 3),
    }
