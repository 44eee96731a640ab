"""Steering the denoiser to the scan at hand by changes of low rank, learned from what looks healthy in it.

Paper: Barbano et al. 2023, "Steerable Conditional Diffusion for Out-of-Distribution Adaptation in Medical Image
Reconstruction", arXiv:2308.14409; the changes are those of LoRA (Hu et al. 2021): ``W + U V`` with U (outputs, rank)
from zero and V (rank, inputs) from small random values.

Some steps of Adam lower ``mean |x - x_hat| + weight TV(x_hat)``, where the mean is over the pixels of the brain with
the smallest residuals of their slice, which are likely healthy, so that lesions do not teach the network lesions.

What differs: in the paper the loss is that of a measurement, such as a sinogram, and the changes are made anew along
the sampling. Here there is no measurement but the scan itself, and one adaptation serves all slices of a scan. Changed
are the linear layers: the modulation by timestep and condition, their embeddings, and the attention. All weights are
again what they were, to the bit, when the scan is done.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from conddiffusion_uad.method.checks import require_whole
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.schedule import STEPS
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.job import is_number

SEED = 0  # of the slices, the noise and the first values: an adaptation is the same for the same scan
_COUNTS = {"rank": 256, "steps": 1000, "timestep": STEPS, "batch": 1024}


@dataclass(frozen=True)
class LowRank:
    """The linear layers of the denoiser are fitted to the scan by changes of low rank.

    Attributes:
        rank: Of the change of each layer.
        steps: Of Adam.
        learning_rate: Of Adam.
        timestep: Of the noise that slices are restored from meanwhile.
        healthy: Share of the brain's pixels in a slice, those with the smallest residuals, that count.
        variation: Weight of the total variation of the estimate.
        batch: Slices in a step.
    """

    rank: int = 4
    steps: int = 18
    learning_rate: float = 3e-4
    timestep: int = 500
    healthy: float = 0.8
    variation: float = 1e-3
    batch: int = 16

    def __post_init__(self) -> None:
        require_whole(self, **_COUNTS)
        for name, low, high in (("learning_rate", 0, 1), ("healthy", 0.01, 1), ("variation", 0, 10)):
            if not is_number(getattr(self, name), low, high):
                raise ValueError(f"{name} is a number from {low:g} to {high}")

    @contextmanager
    def __call__(self, model: ConditionedDiffusion, slices: Slices) -> Iterator[ConditionedDiffusion]:
        """The steered model; the earlier weights stand again afterwards."""
        layers = [part for part in model.denoiser.modules() if isinstance(part, nn.Linear) and part.weight.numel()]
        earlier = [layer.weight.detach().clone() for layer in layers]
        try:
            self._learn(model, slices, layers)
            yield model
        finally:
            with torch.no_grad():
                for layer, weight in zip(layers, earlier, strict=True):
                    layer.weight.copy_(weight)

    def _learn(self, model: ConditionedDiffusion, slices: Slices, layers: list[nn.Linear]) -> None:
        generator = torch.Generator().manual_seed(SEED)
        with _frozen(model), _changes(layers, self.rank, generator) as changes, torch.enable_grad():
            optimizer = torch.optim.Adam([p for change in changes for p in change.parameters()], self.learning_rate)
            for step in range(self.steps):
                chosen = torch.randperm(len(slices), generator=generator)[: self.batch]
                loss = self.loss(model, slices[chosen.to(slices.image.device)], Seeds(SEED, chosen.numpy()), step)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def loss(self, model: ConditionedDiffusion, slices: Slices, seeds: Seeds, step: int = 0) -> torch.Tensor:
        """What the steps lower, a scalar.

        Args:
            step: Each has noise of its own.
        """
        level = torch.full((len(slices),), self.timestep, device=slices.image.device)
        estimate = model(slices, level, model.noise(seeds.of(step), slices.image))
        residual = (estimate - slices.image).abs()
        counted = likely_healthy(residual.detach(), slices.brain, self.healthy)
        steps = (estimate.diff(dim=axis).abs().mean() for axis in (2, 3))
        return (residual * counted).sum() / counted.sum().clamp(min=1) + self.variation * sum(steps)


def likely_healthy(residual: torch.Tensor, brain: torch.Tensor, share: float) -> torch.Tensor:
    """The pixels of the brain with the smallest residuals of their slice, boolean (B, 1, H, W).

    Args:
        residual: Not negative, (B, 1, H, W).
        brain: Boolean, same shape.
        share: Of the brain's pixels.
    """
    limits = residual.masked_fill(~brain, torch.nan).flatten(1).nanquantile(share, dim=1)
    # Nothing where a slice shows no brain: its limit is no number.
    return (residual <= limits.view(-1, 1, 1, 1)) & brain


class Change(nn.Module):
    """What is added to the weights of a linear layer."""

    def __init__(self, weight: torch.Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        first = torch.randn(rank, inputs, generator=generator) / math.sqrt(inputs)
        self.inward = nn.Parameter(first.to(weight))
        self.outward = nn.Parameter(weight.new_zeros(outputs, rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The changed weights, (outputs, inputs)."""
        return weight + self.outward @ self.inward


@contextmanager
def _changes(layers: list[nn.Linear], rank: int, generator: torch.Generator) -> Iterator[list[Change]]:
    """Changes of layers that are learned meanwhile; in the end they are part of the weights."""
    changes = [Change(layer.weight.detach(), rank, generator) for layer in layers]
    for layer, change in zip(layers, changes, strict=True):
        parametrize.register_parametrization(layer, "weight", change)
    try:
        yield changes
    finally:
        for layer in layers:
            changed = layer.weight.detach().clone()
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
            with torch.no_grad():
                layer.weight.copy_(changed)


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Meanwhile, no parameter that the model has now gets gradients."""
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.requires_grad_(False)
        yield
    finally:
        for parameter, was_wanted in wanted:
            parameter.requires_grad_(was_wanted)
