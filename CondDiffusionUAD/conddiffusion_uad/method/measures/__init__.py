"""Figures of a whole scan for the report, such as how far the reconstructions disagree.

One idea a file; a configuration lists any number of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from conddiffusion_uad.method.measures.disagreement import Disagreement
from conddiffusion_uad.method.measures.latent_dissimilarity import LatentDissimilarity
from conddiffusion_uad.method.measures.severity import Severity
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.model.cddpm import ConditionedDiffusion


class ScanMeasure(Protocol):
    """One or several figures, or curves. A measure with a network of its own is also ``parts.Learned``."""

    def __call__(self, restored: Restored, model: ConditionedDiffusion) -> Mapping[str, float | Sequence[float]]:
        """The figures by their names, finite numbers or lists of them."""


MEASURES: Mapping[str, type[ScanMeasure]] = {
    "disagreement": Disagreement,
    "latent_dissimilarity": LatentDissimilarity,
    "severity": Severity,
}
