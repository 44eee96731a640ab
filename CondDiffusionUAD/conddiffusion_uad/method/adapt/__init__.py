"""Fitting the model to the scan at hand before it is restored.

One way a file. What an adaptation changes it changes on a copy, or puts back when its context ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from conddiffusion_uad.method.adapt.batch_statistics import BatchStatistics
from conddiffusion_uad.method.adapt.drift import Drift
from conddiffusion_uad.method.adapt.low_rank import LowRank
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices


class Adaptation(Protocol):
    """A way of fitting the model."""

    def __call__(self, model: ConditionedDiffusion, slices: Slices) -> AbstractContextManager[ConditionedDiffusion]:
        """The adapted model, with the same layers; when the context ends, the given one is again as it was.

        Args:
            model: In its plain form, in evaluation mode, with gradients; nobody else uses it meanwhile.
            slices: All slices of the scan that show brain, on the model's device.
        """


ADAPTATIONS: Mapping[str, type[Adaptation]] = {
    "batch_statistics": BatchStatistics,
    "low_rank": LowRank,
    "drift": Drift,
}
