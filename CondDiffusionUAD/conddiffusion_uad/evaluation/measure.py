"""Measuring one case: from the maps of the methods to a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from conddiffusion_uad.bundle.calibration import threshold
from conddiffusion_uad.evaluation.cases import Examined
from conddiffusion_uad.evaluation.methods import Scored
from conddiffusion_uad.evaluation.metrics.lesions import false_findings, finding_mask, froc_points, lesions
from conddiffusion_uad.evaluation.metrics.score_counts import ScoreCounts, count
from conddiffusion_uad.evaluation.metrics.surface import hausdorff95, surface_dice
from conddiffusion_uad.evaluation.metrics.voxels import dice
from conddiffusion_uad.evaluation.record import MethodRecord, Record


@dataclass(frozen=True)
class Rule:
    """When a voxel belongs to a finding, for every method alike; no label is needed to choose it.

    Attributes:
        healthy_flagged: Fraction of healthy tissue that may be flagged: the threshold.
        min_volume_ml: Smallest volume of a finding in ml.
    """

    healthy_flagged: float = 0.01
    min_volume_ml: float = 0.05

    @property
    def threshold(self) -> float:
        """The smallest score of a finding."""
        return threshold(self.healthy_flagged)


@dataclass(frozen=True)
class Circumstances:
    """What a record says about a case besides how the methods did; see :class:`Record`."""

    reconstruction: Mapping[str, float | None] | None
    seconds: Mapping[str, float]
    peak_memory_mb: float | None
    notes: list[str]


def measure(
    examined: Examined, scored: Iterable[Scored], rule: Rule, circumstances: Circumstances
) -> tuple[Record, dict[str, ScoreCounts]]:
    """Judge the maps of all methods in a case, inside the brain, on its own grid.

    Returns:
        The record, and the counts of each method's raw map.

    Raises:
        ValueError: A map holds what is not a number.
    """
    case, brain = examined.case, examined.native_mask
    truth = examined.native_truth & brain
    methods, counts = {}, {}
    for each in scored:
        methods[each.name], counts[each.name] = measure_method(each, brain, truth, examined.spacing, rule)
    voxel_ml = _voxel_ml(examined.spacing)
    record = Record(
        id=case.id,
        patient=case.patient,
        dataset=case.dataset,
        contrast=case.contrast,
        labeled=case.truth is not None,
        dimensions=3 if case.index is None else 2,
        voxel_ml=voxel_ml,
        brain_ml=float(brain.sum() * voxel_ml),
        lesion_ml=float(truth.sum() * voxel_ml),
        prevalence=float(truth.sum() / max(brain.sum(), 1)),
        methods=methods,
        **vars(circumstances),
    )
    return record, counts


def measure_method(
    scored: Scored, brain: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float], rule: Rule
) -> tuple[MethodRecord, ScoreCounts]:
    """Judge the map of one method.

    Args:
        scored: The map.
        brain: Where it is judged, boolean (z, y, x).
        truth: Lesion inside the brain, same shape.
        spacing: (z, y, x) mm.
        rule: When a voxel belongs to a finding.
    """
    voxel_ml = _voxel_ml(spacing)
    counts = count(scored.raw[brain], truth[brain])
    flagged = finding_mask(scored.score, rule.threshold, spacing, rule.min_volume_ml)
    healthy = brain & ~truth
    oracle_dice, oracle_threshold = counts.best_dice() or (None, None)
    false = false_findings(flagged, truth, voxel_ml)
    record = MethodRecord(
        average_precision=counts.average_precision(),
        auroc=counts.auroc(),
        dice=dice(flagged, truth) if truth.any() else None,
        oracle_dice=oracle_dice,
        oracle_threshold=oracle_threshold,
        flagged_fraction=float((scored.score[healthy] >= rule.threshold).mean()) if healthy.any() else 0.0,
        flagged_ml=float(flagged.sum() * voxel_ml),
        false_findings=false.count,
        false_ml=false.ml,
        surface_dice=surface_dice(flagged, truth, spacing),
        hausdorff95_mm=hausdorff95(flagged, truth, spacing),
        lesions=[asdict(lesion) for lesion in lesions(truth, scored.score, flagged, voxel_ml)],
        froc=[asdict(point) for point in froc_points(scored.score, truth, spacing, rule.min_volume_ml)],
        slices=_slices(scored.score, brain, truth),
    )
    return record, counts


def _slices(score: np.ndarray, brain: np.ndarray, truth: np.ndarray) -> list[tuple[float, bool]]:
    """The highest score of each slice that shows brain, and whether it holds lesion."""
    return [(float(score[z].max()), bool(truth[z].any())) for z in np.flatnonzero(brain.any(axis=(1, 2)))]


def _voxel_ml(spacing: tuple[float, float, float]) -> float:
    return float(np.prod(spacing)) / 1000.0
