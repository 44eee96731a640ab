"""Take synthetic anomalies out again: a denoiser that has also seen local corruptions of tissue restores lesions.

Paper: Naval Marimont et al. 2023, "DISYRE: Diffusion-Inspired SYnthetic REstoration for Unsupervised Anomaly
Detection", arXiv:2311.15453, whose idea it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from conddiffusion_uad.model.cddpm import Noise
from conddiffusion_uad.training.data.slabs import Slabs
from conddiffusion_uad.training.objectives.denoising import Denoising, NoisySlices
from conddiffusion_uad.training.synthetic_anomalies.anomalies import corrupt
from conddiffusion_uad.training.table import require_range


@dataclass(frozen=True)
class SyntheticAnomalies(Denoising):
    """Give back healthy slices from under noise and anomalies, which reach through all slices of a slab.

    The model sees, and is conditioned on, slices with anomalies. Errors where the anomalies were count more.

    Attributes:
        share: Of the slices that get anomalies.
        weight: How much more an error counts inside an anomaly than elsewhere.
    """

    share: float = 0.8
    weight: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self.share, 0, 1, "share")
        if not 0 <= self.weight < math.inf:
            raise ValueError("weight is at least 0")

    def corrupt(self, slabs: Slabs, noise: Noise, generator: torch.Generator) -> NoisySlices:
        """The slices with anomalies under noise; see :class:`Objective`."""
        corrupted, where = self._with_anomalies(slabs, generator)
        seen = replace(slabs, volume=corrupted).slices()
        return self._noisy(slabs.middle, seen, 1 + self.weight * where, noise, generator)

    def _with_anomalies(self, slabs: Slabs, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """The volumes with anomalies, (B, D, H, W), and where in the middle slices they are, 0 to 1, (B, 1, H, W)."""
        return corrupt(slabs.volume, self.share, generator, reach=slabs.view.reach)
