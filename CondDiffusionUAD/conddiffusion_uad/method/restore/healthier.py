"""A reconstruction that is told a healthier slice than the one that is there: a counterfactual along one direction.

Paper: Keicher et al. 2023, arXiv:2303.12031: moving the features of an image along the normal of the plane that parts
healthy from sick, and decoding them, shows what the image would look like if it were healthier.

``c' = c - s n`` with c the condition, n the normal that ``train severity`` has found (see ``measures.severity``) and s
how far to go; then everything is as in one step.

What differs: the denoiser also sees the slice under noise, so that the anatomy is the scan's own, and only what the
noise leaves open follows the condition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from conddiffusion_uad.method.measures.severity import Plane, Severity
from conddiffusion_uad.method.restore.each_timestep import EachTimestep
from conddiffusion_uad.method.restore.one_step import estimates
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.job import is_number

if TYPE_CHECKING:
    from conddiffusion_uad.method.method import Method

FURTHEST = 1000.0


@dataclass(frozen=True)
class Healthier(EachTimestep):
    """One sample for each timestep, with the condition of a healthier slice.

    Attributes:
        timesteps: t in 1..1000, different ones.
        distance: s, in units of the features.
        weights: Name of the network of the measure severity, which keeps the direction.
    """

    distance: float = 1.0
    weights: str = "severity"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_number(self.distance, -FURTHEST, FURTHEST):
            raise ValueError(f"distance is a number from {-FURTHEST:g} to {FURTHEST:g}")

    def require(self, method: Method) -> None:
        """See ``parts.Particular``."""
        if not any(isinstance(part, Severity) and part.weights == self.weights for part in method.measures):
            raise ValueError(
                "a healthier condition lies along the direction that the measure severity keeps, and measures does not "
                "list it"
            )

    def __call__(self, model: ConditionedDiffusion, slices: Slices, seeds: Seeds) -> torch.Tensor:
        """Estimates of the healthy slices, float32 (timesteps, B, 1, H, W)."""
        plane = model.networks[self.weights]
        assert isinstance(plane, Plane)
        condition = model.encoder(slices) - self.distance * plane.normal
        return estimates(model, slices, seeds, [(timestep, timestep) for timestep in self.timesteps], condition)
