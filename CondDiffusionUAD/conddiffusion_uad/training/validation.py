"""The loss on held-out slices: always the same slices, noise levels and noise, so that two values can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.training.data.batches import batches
from conddiffusion_uad.training.data.corpus import Part
from conddiffusion_uad.training.recipe import Recipe
from conddiffusion_uad.training.synthetic_anomalies.anomalies import corrupt

_CHUNK = 16  # slices at once


def restoration_loss(estimate: torch.Tensor, slices: torch.Tensor, where: torch.Tensor, weight: float) -> torch.Tensor:
    """Mean absolute error of estimates in [-1, 1], all (B, 1, H, W) in [0, 1]; ``1 + weight`` times in anomalies."""
    return 2 * ((1 + weight * where) * (estimate - slices).abs()).mean()


class Validation:
    """Judges a model by the loss that it is trained with.

    Args:
        recipe: Says how slices are drawn, corrupted and judged.
        corpus: What it holds out is judged on.
        device: Where the model is.
    """

    def __init__(self, recipe: Recipe, corpus: Sequence[Part], device: torch.device) -> None:
        self.settings = recipe.validation
        self._fit = recipe.fit
        generator = torch.Generator().manual_seed(recipe.seed)
        held_out = [replace(part, fit=part.held_out) for part in corpus if part.held_out]
        self._slices = self._draw(recipe, held_out, device, generator)
        self._seen, self._where = corrupt(self._slices, recipe.fit.anomalies.share, generator)
        count = len(self._slices) * len(self.settings.levels)
        self._seeds = torch.randint(2**31, (count,), generator=generator).tolist()

    def _draw(
        self, recipe: Recipe, held_out: Sequence[Part], device: torch.device, generator: torch.Generator
    ) -> torch.Tensor:
        """Slices of what is held out, not augmented where that can be helped."""
        wanted = self.settings.slices
        scans = sum(len(part.fit) for part in held_out)
        size = min(wanted, scans) if recipe.sampling.order == "epochs" else wanted
        source = batches(recipe, held_out, size, device, augment=False)
        drawn = [source.at(step, generator) for step in range(-(-wanted // size))]
        return torch.cat(drawn)[:wanted].to(memory_format=torch.channels_last)

    def due(self, step: int, steps: int) -> bool:
        """Whether it is time, after a step: every so many, and in the end."""
        return self.settings.every > 0 and (step % self.settings.every == 0 or step == steps)

    @torch.no_grad()
    def loss(self, model: ConditionedDiffusion) -> float:
        """The mean loss over slices and levels; the model is in evaluation mode meanwhile."""
        model.eval()
        total, count = 0.0, len(self._slices)
        for index, level in enumerate(self.settings.levels):
            level_seeds = self._seeds[index * count : (index + 1) * count]
            for start in range(0, count, _CHUNK):
                part = slice(start, start + _CHUNK)
                slices, seeds = self._slices[part], level_seeds[part]
                levels = torch.full((len(slices),), level, device=slices.device)
                with torch.autocast(slices.device.type, torch.bfloat16, enabled=self._fit.precision == "bf16"):
                    estimate = model(Slices.of(self._seen[part]), levels, model.noise(seeds, slices))
                loss = restoration_loss(estimate, slices, self._where[part], self._fit.anomalies.weight)
                total += loss.item() * len(slices)
        return total / count / len(self.settings.levels)
