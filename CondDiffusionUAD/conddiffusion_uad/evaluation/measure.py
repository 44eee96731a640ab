"""Judging the map of a method in a scan: from voxels to the figures of a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from conddiffusion_uad.evaluation.data.cases import Examined
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


@dataclass(frozen=True)
class Ground:
    """Where the maps of a scan are judged, and by which rule.

    Attributes:
        brain: Boolean (z, y, x) on the scan's own grid; what lies outside is not judged.
        truth: Lesion inside the brain, same shape.
        spacing: (z, y, x) in mm.
        rule: When a voxel belongs to a finding.
    """

    brain: np.ndarray
    truth: np.ndarray
    spacing: Sequence[float]
    rule: Rule

    @classmethod
    def of(cls, examined: Examined, rule: Rule) -> Ground:
        """That of a prepared scan."""
        return cls(examined.native_mask, examined.native_truth & examined.native_mask, examined.spacing, rule)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return float(np.prod(self.spacing)) / 1000.0

    def findings(self, scored: Scored) -> np.ndarray:
        """Where a method has its findings, boolean (z, y, x)."""
        return finding_mask(scored.score, scored.threshold, self.spacing, self.rule.min_volume_ml)

    def measure(
        self, scored: Scored, before: Scored | None = None, implanted: Sequence[Lesion] = ()
    ) -> tuple[MethodRecord, ScoreCounts]:
        """Judge the map of one method.

        Args:
            before: Of a changed scan its map of the scan as it was, to tell how they agree.
            implanted: Lesions that the change put there.

        Returns:
            The figures, and the counts of the raw map.

        Raises:
            ValueError: The map holds what is not a number.
        """
        brain, truth = self.brain, self.truth
        counts = count(scored.raw[brain], truth[brain])
        flagged = self.findings(scored)
        healthy = brain & ~truth
        oracle_dice, oracle_threshold = counts.best_dice() or (None, None)
        false, false_ml = false_findings(flagged, truth, self.voxel_ml)
        surface_dice, hausdorff95_mm = surface_figures(flagged, truth, self.spacing)
        thresholds = sorted({*FROC_THRESHOLDS, scored.threshold})
        record = MethodRecord(
            threshold=scored.threshold,
            average_precision=counts.average_precision(),
            auroc=counts.auroc(),
            dice=dice(flagged, truth) if truth.any() else None,
            oracle_dice=oracle_dice,
            oracle_threshold=oracle_threshold,
            flagged_fraction=float((scored.score[healthy] >= scored.threshold).mean()) if healthy.any() else 0.0,
            flagged_ml=float(flagged.sum() * self.voxel_ml),
            false_findings=false,
            false_ml=false_ml,
            surface_dice=surface_dice,
            hausdorff95_mm=hausdorff95_mm,
            lesions=lesions(truth, scored.score, flagged, self.voxel_ml),
            froc=froc_points(scored.score, truth, self.spacing, self.rule.min_volume_ml, thresholds),
            slices=_slices(scored.score, brain, truth),
        )
        return self._compared(record, scored, before, implanted) if before else record, counts

    def _compared(
        self, record: MethodRecord, after: Scored, before: Scored, implanted: Sequence[Lesion]
    ) -> MethodRecord:
        findings, former = self.findings(after), self.findings(before)
        scores, usual = after.score[self.brain], before.score[self.brain]
        varied = scores.std() > 0 and usual.std() > 0
        doses = [
            {
                "diameter_mm": lesion.diameter_mm,
                "contrast": lesion.contrast,
                "ml": float(lesion.where.sum() * self.voxel_ml),
                "peak": float(after.score[lesion.where].max()),
                "found": bool(findings[lesion.where].any()),
                "without": bool(former[lesion.where].any()),
            }
            for lesion in implanted
        ]
        return replace(
            record,
            correlation=float(np.corrcoef(scores, usual)[0, 1]) if varied else None,
            difference=float(np.abs(scores - usual).mean()),
            agreement=dice(findings, former),
            doses=doses,
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


def _slices(score: np.ndarray, brain: np.ndarray, truth: np.ndarray) -> list[tuple[float, bool]]:
    """The highest score of each slice that shows brain, and whether it holds lesion."""
    return [(float(score[z].max()), bool(truth[z].any())) for z in np.flatnonzero(brain.any(axis=(1, 2)))]
