"""From slices to what they would look like healthy.

One way of restoring a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch

from conddiffusion_uad.method.restore.counterfactual import Counterfactual
from conddiffusion_uad.method.restore.healthier import Healthier
from conddiffusion_uad.method.restore.masked_patches import MaskedPatches
from conddiffusion_uad.method.restore.multi_stage import MultiStage
from conddiffusion_uad.method.restore.one_pass import OnePass
from conddiffusion_uad.method.restore.one_step import OneStep
from conddiffusion_uad.method.restore.patched import Patched
from conddiffusion_uad.method.restore.repeated import Repeated
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices


class Restorer(Protocol):
    """A way of restoring slices.

    One that asks something else of a network than to restore slices that are noised everywhere has an attribute
    ``noised``; a recipe's objective then has the same one, so that the network learns what it is asked.
    """

    @property
    def timesteps(self) -> tuple[int, ...]:
        """How much noise it uses, t in 1..1000; a run may replace them."""

    @property
    def samples(self) -> int:
        """How many estimates it gives."""

    def passes(self, height: int, width: int) -> int:
        """How often it asks the denoiser about a slice of that many pixels, at most."""

    def __call__(self, model: ConditionedDiffusion, slices: Slices, seeds: Seeds) -> torch.Tensor:
        """Estimates of the healthy slices in [0, 1], not clamped, float32 (samples, B, 1, H, W).

        Their mean is the reconstruction, how far they disagree its uncertainty.
        """


RESTORERS: Mapping[str, type[Restorer]] = {
    "one_step": OneStep,
    "one_pass": OnePass,
    "multi_stage": MultiStage,
    "counterfactual": Counterfactual,
    "patched": Patched,
    "masked_patches": MaskedPatches,
    "repeated": Repeated,
    "healthier": Healthier,
}
