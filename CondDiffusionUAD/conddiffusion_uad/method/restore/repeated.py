"""Several reconstructions of every slice under noise drawn anew: samples of what it could look like healthy.

Paper: Behrendt et al. 2024, "Leveraging the Mahalanobis Distance to enhance Unsupervised Brain MRI Anomaly Detection",
arXiv:2407.12474, which takes ten of them at the timestep 500.

The first draw has the noise of ``one_step``, so that a single one is its reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from conddiffusion_uad.method.checks import require_whole
from conddiffusion_uad.method.restore.each_timestep import EachTimestep
from conddiffusion_uad.method.restore.one_step import estimates
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.schedule import STEPS
from conddiffusion_uad.model.slices import Slices

MOST = 100  # draws


@dataclass(frozen=True)
class Repeated(EachTimestep):
    """Some samples at each timestep, each from one forward pass.

    Attributes:
        timesteps: t in 1..1000, different ones.
        draws: Samples at each of them.
    """

    timesteps: tuple[int, ...] = (500,)
    draws: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole(self, draws=MOST)

    @property
    def samples(self) -> int:
        return self.draws * len(self.timesteps)

    def __call__(self, model: ConditionedDiffusion, slices: Slices, seeds: Seeds) -> torch.Tensor:
        """Estimates of the healthy slices, float32 (draws * timesteps, B, 1, H, W), draw by draw."""
        passes = [(t, t + draw * (STEPS + 1)) for draw in range(self.draws) for t in self.timesteps]
        return estimates(model, slices, seeds, passes)
