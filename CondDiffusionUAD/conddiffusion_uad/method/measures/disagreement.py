"""How far the reconstructions of a scan disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion


@dataclass(frozen=True)
class Disagreement:
    """Standard deviation of the samples, mean over the brain, in units of normalized intensity."""

    def __call__(self, restored: Restored, model: ConditionedDiffusion) -> Mapping[str, float]:
        """``disagreement``, 0 for a single sample and for a scan without brain."""
        mask = restored.mask
        return {"disagreement": float(restored.spread[mask].mean()) if mask.any() else 0.0}
