"""The loss on held-out slices: always the same slices, timesteps and noise, so that two values can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass, replace

import torch
from torch import nn

from conddiffusion_uad.model.cddpm import Noise
from conddiffusion_uad.training.data.batches import batches
from conddiffusion_uad.training.data.corpus import Part
from conddiffusion_uad.training.data.slabs import Slabs
from conddiffusion_uad.training.loop import each
from conddiffusion_uad.training.objectives import Objective
from conddiffusion_uad.training.recipe import Recipe

_CHUNK = 16  # slices at once


def can_judge(corpus: Sequence[Part]) -> bool:
    """Whether a source that is learned from holds out something; sources without weight are only calibrated on."""
    return any(part.held_out and part.source.weight for part in corpus)


class Validation:
    """Judges a network by the objective that it is trained for.

    An objective with timesteps is asked for each of the validation's.
    """

    def __init__(self, recipe: Recipe, corpus: Sequence[Part], noise: Noise, device: torch.device) -> None:
        self._settings, self._fit, self._device = recipe.validation, recipe.fit, device
        self._objectives = _variants(recipe.fit.objective, recipe.validation.timesteps)
        generator = torch.Generator().manual_seed(recipe.seed)
        held_out = [replace(part, fit=part.held_out) for part in corpus if part.held_out]
        slabs = self._draw(recipe, held_out, device, generator).to(device)
        seed = int(torch.randint(2**62, (), generator=generator))
        self._examples = [
            objective.corrupt(slabs, noise, torch.Generator().manual_seed(seed + number))
            for number, objective in enumerate(self._objectives)
        ]

    def _draw(
        self, recipe: Recipe, held_out: Sequence[Part], device: torch.device, generator: torch.Generator
    ) -> Slabs:
        """Slabs of what is held out, not augmented where that can be helped."""
        wanted = self._settings.slices
        scans = sum(len(part.fit) for part in held_out if part.source.weight)
        size = min(wanted, scans) if recipe.sampling.order == "epochs" else wanted
        source = batches(recipe, held_out, size, device, augment=False)
        drawn = [source.at(step, generator) for step in range(-(-wanted // size))]
        return Slabs.cat(drawn)[:wanted]

    @property
    def keeps_best(self) -> bool:
        """Whether the weights with the lowest loss are the result."""
        return self._settings.keep == "best"

    def due(self, step: int, steps: int) -> bool:
        """Whether it is time, after a step: every so many, and in the end."""
        return self._settings.every > 0 and (step % self._settings.every == 0 or step == steps)

    @torch.no_grad()
    def loss(self, network: nn.Module) -> float:
        """The mean loss over slices and timesteps; the network is in evaluation mode meanwhile."""
        was_training = network.training
        network.eval()
        total, count = 0.0, self._settings.slices
        for objective, example in zip(self._objectives, self._examples, strict=True):
            for start in range(0, count, _CHUNK):
                chunk = each(lambda values, start=start: values[start : start + _CHUNK], example)
                with torch.autocast(self._device.type, torch.bfloat16, enabled=self._fit.precision == "bf16"):
                    loss = objective.loss(network, chunk)
                total += loss.item() * min(_CHUNK, count - start)
        network.train(was_training)
        return total / count / len(self._examples)


def _variants(objective: Objective, timesteps: Sequence[int]) -> list[Objective]:
    """The objective at each timestep alone; as it is if it has none."""
    if not is_dataclass(objective) or not hasattr(objective, "timesteps"):
        return [objective]
    return [replace(objective, timesteps=(timestep, timestep)) for timestep in timesteps]
