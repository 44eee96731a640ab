"""A second network that looks at the encoder's features and guesses whether two slices are from the same source.

See ``training.objectives.variance_aware`` for what it is good for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices

_WIDTH = 300  # of both hidden layers, as published


class Reversal(torch.autograd.Function):
    """Gives features on as they are, and their gradient with the other sign (Ganin and Lempitsky 2015)."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor, strength: float) -> torch.Tensor:
        """The values, of any shape; ``strength`` is what their gradient is multiplied with, besides -1."""
        context.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The reversed gradient."""
        return -context.strength * gradient, None


class WithAdversary(nn.Module):
    """A model and its adversary, which are trained together; the model is what stays.

    Args:
        model: Its encoder is a residual network.
    """

    def __init__(self, model: ConditionedDiffusion, strength: float) -> None:
        super().__init__()
        self.model, self.strength = model, strength
        stages = (getattr(model.encoder, f"layer{number}") for number in range(1, 5))
        channels = sum(stage[-1].conv1.out_channels * stage[-1].expansion for stage in stages)
        self.judge = nn.Sequential(
            nn.Linear(4 * channels, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, 1)
        )

    def forward(
        self, slices: Slices, timestep: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The estimate of the model, (B, 1, H, W), and of each pair of slices how surely they are of one source.

        Returns:
            The estimate; logits (pairs,); and the positions of the two slices of each pair, int64 (2, pairs).
        """
        estimate, seen = self._watched(slices, timestep, noise)
        pairs = torch.triu_indices(len(slices), len(slices), offset=1, device=estimate.device)
        features = Reversal.apply(seen, self.strength)
        both = torch.cat([features[pairs[0]], features[pairs[1]]], dim=1)
        return estimate, self.judge(both).squeeze(1), pairs

    def _watched(self, *given: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """What the model says, and mean and deviation of each channel of the encoder's stages, (B, 2 sum C)."""
        kept: list[torch.Tensor] = []

        def keep(_: nn.Module, __: Any, features: torch.Tensor) -> None:
            values = features.float().flatten(2)
            deviation = (values.var(dim=2, correction=0) + 1e-6).sqrt()  # a deviation of zero has no gradient
            kept.extend((values.mean(dim=2), deviation))

        stages = [getattr(self.model.encoder, f"layer{number}") for number in range(1, 5)]
        handles = [stage.register_forward_hook(keep) for stage in stages]
        try:
            estimate = self.model(*given)
        finally:
            for handle in handles:
                handle.remove()
        return estimate, torch.cat(kept, dim=1)
