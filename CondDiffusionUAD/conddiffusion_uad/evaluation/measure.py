"""Judging the map of a method in a scan: from voxels to the figures of a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conddiffusion_uad.evaluation.methods import Scored
from conddiffusion_uad.evaluation.metrics.lesions import (
    FROC_THRESHOLDS,
    false_findings,
    finding_mask,
    froc_points,
    lesions,
)
from conddiffusion_uad.evaluation.metrics.score_counts import ScoreCounts, auroc, count, dice
from conddiffusion_uad.evaluation.metrics.surface import surface_figures
from conddiffusion_uad.evaluation.record import MethodRecord
from conddiffusion_uad.evaluation.settings import Rule
from conddiffusion_uad.evaluation.shifts.implanted import Lesion
from conddiffusion_uad.method.measures.latent_dissimilarity import shown_slices
from conddiffusion_uad.method.run import Scored as BrainScored


def measure(
    scored: Scored, brain: np.ndarray, truth: np.ndarray, spacing: Sequence[float], rule: Rule
) -> tuple[MethodRecord, ScoreCounts]:
    """Judge the map of one method.

    Args:
        brain: Where it is judged, boolean (z, y, x).
        truth: Lesion inside the brain, same shape.
        spacing: (z, y, x) mm.

    Returns:
        The figures, and the counts of the raw map.

    Raises:
        ValueError: The map holds what is not a number.
    """
    voxel_ml = volume_ml(spacing)
    counts = count(scored.raw[brain], truth[brain])
    flagged = findings_of(scored, spacing, rule)
    healthy = brain & ~truth
    oracle_dice, oracle_threshold = counts.best_dice() or (None, None)
    false, false_ml = false_findings(flagged, truth, voxel_ml)
    surface_dice, hausdorff95_mm = surface_figures(flagged, truth, spacing)
    record = MethodRecord(
        threshold=scored.threshold,
        average_precision=counts.average_precision(),
        auroc=counts.auroc(),
        dice=dice(flagged, truth) if truth.any() else None,
        oracle_dice=oracle_dice,
        oracle_threshold=oracle_threshold,
        flagged_fraction=float((scored.score[healthy] >= scored.threshold).mean()) if healthy.any() else 0.0,
        flagged_ml=float(flagged.sum() * voxel_ml),
        false_findings=false,
        false_ml=false_ml,
        surface_dice=surface_dice,
        hausdorff95_mm=hausdorff95_mm,
        lesions=lesions(truth, scored.score, flagged, voxel_ml),
        froc=froc_points(
            scored.score, truth, spacing, rule.min_volume_ml, sorted({*FROC_THRESHOLDS, scored.threshold})
        ),
        slices=_slices(scored.score, brain, truth),
    )
    return record, counts


def findings_of(scored: Scored, spacing: Sequence[float], rule: Rule) -> np.ndarray:
    """Where a method has its findings, boolean (z, y, x); the spacing is (z, y, x) in mm."""
    return finding_mask(scored.score, scored.threshold, spacing, rule.min_volume_ml)


def compared(
    record: MethodRecord, after: Scored, before: Scored, brain: np.ndarray, spacing: Sequence[float], rule: Rule
) -> MethodRecord:
    """The figures of a changed scan, with how its map agrees with that of the scan as it was, on the same grid."""
    scores, former = after.score[brain], before.score[brain]
    varied = scores.std() > 0 and former.std() > 0
    findings = (findings_of(each, spacing, rule) for each in (after, before))
    return replace(
        record,
        correlation=float(np.corrcoef(scores, former)[0, 1]) if varied else None,
        difference=float(np.abs(scores - former).mean()),
        agreement=dice(*findings),
    )


def latent_auroc(made: BrainScored, truth: np.ndarray) -> float | None:
    """How well the latent dissimilarity of its slices tells those of a scan that hold lesion from the others.

    Args:
        made: What a bundle makes of the scan; see :mod:`conddiffusion_uad.method.measures.latent_dissimilarity`.
        truth: Lesion on the bundle's grid, boolean (z, y, x).

    Returns:
        The area under the curve of one scan, 0.5 by chance; None without encoder, and where slices of a kind are
        missing.
    """
    values = made.measures.get("latent_dissimilarity_slices")
    if values is None:
        return None
    holds = truth[shown_slices(made.restored.mask)].any(axis=(1, 2))
    return auroc(values, holds) if holds.any() and not holds.all() else None


def doses(
    implanted: Sequence[Lesion], after: Scored, before: Scored, spacing: Sequence[float], rule: Rule
) -> list[dict[str, Any]]:
    """What a method makes of implanted lesions; see :class:`MethodRecord`.

    Args:
        after, before: Its maps of the scan with them and without them.
        spacing: (z, y, x) in mm.
    """
    findings = [findings_of(each, spacing, rule) for each in (after, before)]
    return [
        {
            "diameter_mm": lesion.diameter_mm,
            "contrast": lesion.contrast,
            "ml": float(lesion.where.sum() * volume_ml(spacing)),
            "peak": float(after.score[lesion.where].max()),
            "found": bool(findings[0][lesion.where].any()),
            "without": bool(findings[1][lesion.where].any()),
        }
        for lesion in implanted
    ]


def volume_ml(spacing: Sequence[float]) -> float:
    """Volume of a voxel, from mm."""
    return float(np.prod(spacing)) / 1000.0


def _slices(score: np.ndarray, brain: np.ndarray, truth: np.ndarray) -> list[tuple[float, bool]]:
    """The highest score of each slice that shows brain, and whether it holds lesion."""
    return [(float(score[z].max()), bool(truth[z].any())) for z in np.flatnonzero(brain.any(axis=(1, 2)))]
