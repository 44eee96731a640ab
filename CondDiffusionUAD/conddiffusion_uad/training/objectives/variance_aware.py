"""Features that forget the scanner: the encoder learns that nobody can tell from them where a slice comes from.

Paper: Shubin et al. 2021, "About Explicit Variance Minimization: Training Neural Networks for Medical Imaging With
Limited Data Annotations", arXiv:2105.14117, whose method is called variance-aware training.

A small network, the adversary, is given the means and deviations of all channels of the encoder's stages for two slices
and learns to tell whether both are from the same source; its gradient reaches the encoder reversed, times ``reversal``:
``loss = L + BCE(D(R(f_a, f_b)), same)``, with R the identity whose gradient is ``-reversal``. Another term can be
added, which is not of that paper: ``variance`` times the variance of the mean loss between the sources (Krueger et al.
2021, arXiv:2003.00688), so that none is learned at the cost of another.

What differs: in the paper the partner of a slice is from the training set or from a pool without labels, and the main
task is segmentation; here all pairs of a batch are judged, those of one source weighing as much as the others, sources
are those of the recipe, and the task is that of synthetic anomalies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from conddiffusion_uad.method.condition.encoder import Encoder
from conddiffusion_uad.model.cddpm import ConditionedDiffusion, Noise
from conddiffusion_uad.training.data.slabs import Slabs
from conddiffusion_uad.training.networks.adversary import WithAdversary
from conddiffusion_uad.training.objectives.denoising import NoisySlices
from conddiffusion_uad.training.objectives.synthetic_anomalies import SyntheticAnomalies

if TYPE_CHECKING:
    from conddiffusion_uad.method.method import Method


@dataclass(frozen=True)
class SlicesOfSources(NoisySlices):
    """What a step learns from, and where it comes from.

    Attributes:
        source: Of each slice, int64 (B,).
    """

    source: torch.Tensor


@dataclass(frozen=True)
class VarianceAware(SyntheticAnomalies):
    """Give back healthy slices from under noise and anomalies, by features that do not tell the source.

    Attributes:
        reversal: Strength of the reversed gradient; the paper's is 0.06.
        variance: Weight of the variance of the loss between sources.
    """

    reversal: float = 0.06
    variance: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 <= value < math.inf for value in (self.reversal, self.variance)):
            raise ValueError("reversal and variance are at least 0")

    def require(self, method: Method) -> None:
        """See ``parts.Particular``."""
        if not isinstance(method.condition, Encoder):
            raise ValueError(
                "the objective variance_aware lets the stages of a residual network forget the source, and this "
                "condition has none"
            )

    def require_sources(self, count: int) -> None:
        """Raise ValueError unless slices can be of different sources."""
        if count < 2:
            raise ValueError("the objective variance_aware tells sources apart, and only one is learned from")

    def around(self, model: ConditionedDiffusion) -> WithAdversary:
        """What is trained: the model with its adversary."""
        return WithAdversary(model, self.reversal)

    def corrupt(self, slabs: Slabs, noise: Noise, generator: torch.Generator) -> SlicesOfSources:
        """The slices with anomalies under noise, and their sources; see :class:`Objective`."""
        made = super().corrupt(slabs, noise, generator)
        return SlicesOfSources(**vars(made), source=slabs.source.to(made.healthy.device))

    def loss(self, network: nn.Module, example: NoisySlices) -> torch.Tensor:
        """The loss of the slices, its variance between sources, and while it learns, how wrong the adversary is.

        A validation goes without the last: the better the encoder forgets, the larger it is.
        """
        assert isinstance(example, SlicesOfSources)
        estimate, logits, pairs = network(example.seen, example.timestep, example.noise)
        each = 2 * (example.weight * (estimate - example.healthy).abs()).flatten(1).mean(1)
        task = each.mean() + self.variance * between(each, example.source)
        if not network.training:
            return task
        return task + balanced(logits, example.source[pairs[0]] == example.source[pairs[1]])


def between(losses: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """The variance of the mean losses of the sources that are there, a scalar; 0 for a single one.

    Args:
        losses: Of slices, (B,).
        source: Of each, int64 (B,).
    """
    means = [losses[source == place].mean() for place in source.unique()]
    return torch.stack(means).var(correction=0)


def balanced(logits: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy, a scalar, to which both answers contribute alike; 0 where one of them is missing.

    Args:
        logits: Of pairs being of one source, (pairs,).
        same: Whether they are, boolean (pairs,).
    """
    if not same.any() or same.all():
        return 0 * logits.sum()
    wrong = functional.binary_cross_entropy_with_logits(logits.float(), same.float(), reduction="none")
    return (wrong[same].mean() + wrong[~same].mean()) / 2
