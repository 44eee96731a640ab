"""What a network is trained to do, one objective a file: how slices are corrupted, and how wrong an answer is.

A recipe names one by its kind: ``objective = { kind = "denoising", timesteps = [1, 1000] }``. A further one needs a
file here, and its name in :data:`OBJECTIVES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn

from conddiffusion_uad.model.cddpm import Noise
from conddiffusion_uad.training.data.slabs import Slabs
from conddiffusion_uad.training.objectives.coarse_noise import CoarseNoise
from conddiffusion_uad.training.objectives.denoising import Denoising
from conddiffusion_uad.training.objectives.diffused_anomalies import DiffusedAnomalies
from conddiffusion_uad.training.objectives.masked_patches import MaskedPatches
from conddiffusion_uad.training.objectives.masked_windows import MaskedWindows
from conddiffusion_uad.training.objectives.patched import PatchedDenoising
from conddiffusion_uad.training.objectives.synomaly import Synomaly
from conddiffusion_uad.training.objectives.synthetic_anomalies import SyntheticAnomalies
from conddiffusion_uad.training.objectives.variance_aware import VarianceAware


class Objective(Protocol):
    """A frozen dataclass whose fields are what a recipe may say about it.

    ``pretrains`` tells whether the encoder alone is trained, inside a
    :class:`~conddiffusion_uad.training.networks.masked_autoencoder.MaskedAutoencoder`; otherwise it is the whole
    :class:`~conddiffusion_uad.model.cddpm.ConditionedDiffusion`. One whose model learns beside another network has a
    method ``around``: it takes the model, and gives a network that has it as its ``model``, for the training.
    """

    @property
    def pretrains(self) -> bool: ...

    def corrupt(self, slabs: Slabs, noise: Noise, generator: torch.Generator) -> Any:
        """What is learned from in a step.

        Args:
            slabs: Healthy ones; ``slabs.slices()`` is what the network would see of them.
            noise: Makes the noise fields of the model.
            generator: Source of all randomness. Steps are prepared by several threads, in any order.

        Returns:
            A dataclass whose values are tensors or such dataclasses, each with an entry for every slab: what several
            processes share.
        """

    def loss(self, network: nn.Module, example: Any) -> torch.Tensor:
        """How wrong the network is about an example: a scalar, the mean over its slices."""


OBJECTIVES: Mapping[str, type[Objective]] = {
    "denoising": Denoising,
    "synthetic_anomalies": SyntheticAnomalies,
    "diffused_anomalies": DiffusedAnomalies,
    "masked_patches": MaskedPatches,
    "patched": PatchedDenoising,
    "masked_windows": MaskedWindows,
    "coarse_noise": CoarseNoise,
    "synomaly": Synomaly,
    "variance_aware": VarianceAware,
}
