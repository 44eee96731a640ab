"""Each objective teaches what it says, and a new one needs no more than a name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from tiny_model import GRID, tiny_config
from tiny_recipe import TINY_MODEL
from torch import nn

from conddiffusion_uad.method.context.mirror import Mirror
from conddiffusion_uad.method.context.neighbours import Neighbours
from conddiffusion_uad.model.encoder import build_encoder
from conddiffusion_uad.training import objectives
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.data.batches import Mixture
from conddiffusion_uad.training.data.slabs import Slabs, View
from conddiffusion_uad.training.distributed import Processes
from conddiffusion_uad.training.loop import Plan, Training
from conddiffusion_uad.training.networks.masked_autoencoder import MaskedAutoencoder
from conddiffusion_uad.training.objectives import OBJECTIVES, Objective
from conddiffusion_uad.training.objectives.denoising import Denoising
from conddiffusion_uad.training.objectives.masked_patches import MaskedPatches
from conddiffusion_uad.training.objectives.synthetic_anomalies import SyntheticAnomalies
from conddiffusion_uad.training.settings import LearningSettings, PretrainSettings
from conddiffusion_uad.training.table import Table

NOISE = tiny_config().method.noise
SOURCE = '[[source]]\nkind = "labels"\nfiles = "*"\nweight = 1.0\nheld_out = 0\n'


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grays(count: int, source: torch.Generator, *, side: int = 16, view: View | None = None) -> Slabs:
    """Slabs that are of one gray each, with a rim that is not brain."""
    view = view or View(GRID)
    volume = torch.rand(count, 1, 1, 1, generator=source).clamp(0.2, 0.8).repeat(1, view.thickness, side, side)
    volume[:, :, :2] = 0
    return Slabs(volume, volume > 0, torch.full((count,), 4), *torch.zeros(2, count, dtype=torch.long), view)


class Grays:
    """Draws such slabs."""

    def __init__(self, side: int) -> None:
        self._side = side

    def draw(self, count: int, source: torch.Generator) -> Slabs:
        return grays(count, source, side=self._side)


def training(network: nn.Module, settings: LearningSettings, side: int) -> Training:
    plan = Plan(Mixture(Grays(side), settings.batch), NOISE, settings.steps(1), 0, "", Processes())
    return Training(network, settings, plan)


@pytest.mark.parametrize("kind", ["denoising", "synthetic_anomalies"])
def test_a_model_learns_to_give_back_healthy_slices(kind: str) -> None:
    torch.manual_seed(0)
    objective = OBJECTIVES[kind](timesteps=(1, 300))
    settings = LearningSettings(
        objective=objective, samples=8 * 60, batch=8, learning_rate=1e-2, precision="fp32", schedule="constant"
    )
    learner = training(tiny_config().build(), settings, 16)
    losses = [learner.advance() for _ in range(learner.steps)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])


def test_masked_patches_are_guessed_from_the_others() -> None:
    torch.manual_seed(0)
    small = {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [8, 16, 32, 64]}
    settings = PretrainSettings(
        objective=MaskedPatches(), samples=8 * 60, batch=8, precision="fp32", learning_rate=1e-2, width=32
    )
    learner = training(MaskedAutoencoder(build_encoder(small, 4), settings.width), settings, 64)
    losses = [learner.advance() for _ in range(learner.steps)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])


def test_noise_is_as_the_objective_says() -> None:
    slabs = grays(64, generator())
    example = Denoising(timesteps=(5, 7), one_noise=True).corrupt(slabs, NOISE, generator(1))
    assert set(example.timestep.tolist()) == {5, 6, 7}
    assert torch.equal(example.noise[0], example.noise[1]) and (example.weight == 1).all()
    assert torch.equal(example.seen.image, slabs.middle) and torch.equal(example.healthy, slabs.middle)
    other = Denoising(timesteps=(5, 7)).corrupt(slabs, NOISE, generator(1))
    assert not torch.equal(other.noise[0], other.noise[1])


def test_errors_inside_anomalies_count_more_and_the_loss_is_that_of_the_published_scale() -> None:
    objective = SyntheticAnomalies(share=1.0, weight=3.0)
    example = objective.corrupt(grays(8, generator()), NOISE, generator(1))
    assert example.weight.min() == 1 and example.weight.max() == pytest.approx(4, abs=0.05)

    class Off(nn.Module):
        """Is wrong by 0.1 everywhere."""

        def forward(self, *_: Any) -> torch.Tensor:
            return example.healthy + 0.1

    assert objective.loss(Off(), example).item() == pytest.approx(0.2 * example.weight.mean().item(), rel=1e-4)


def test_a_context_shows_the_anomaly_that_the_slice_has() -> None:
    """From healthy neighbors the model would only learn to copy them."""
    view = View(GRID, (Neighbours(1), Mirror()))
    slabs = grays(8, generator(), view=view)
    example = SyntheticAnomalies(share=1.0).corrupt(slabs, NOISE, generator(1))
    changed = (example.seen.image - slabs.middle).abs()
    assert (changed.amax((1, 2, 3)) > 0.02).all()
    below, above = example.seen.context[:, :1], example.seen.context[:, 1:2]
    assert torch.allclose(below, example.seen.image) and torch.allclose(above, example.seen.image)
    whole = replace(slabs, volume=example.seen.image.repeat(1, 3, 1, 1)).slices()
    assert torch.equal(example.seen.context[:, 2], whole.context[:, 2])


@dataclass(frozen=True)
class Inpainted:
    """An example of an objective that nobody has written yet."""

    slabs: torch.Tensor
    hole: torch.Tensor


@dataclass(frozen=True)
class Inpainting(Table):
    """Guess a square hole."""

    side: int = 4
    pretrains: ClassVar[bool] = False

    def corrupt(self, slabs: Slabs, noise: Any, source: torch.Generator) -> Inpainted:
        hole = torch.ones_like(slabs.middle)
        hole[..., : self.side, : self.side] = 0
        return Inpainted(slabs.middle, hole)

    def loss(self, network: nn.Module, example: Inpainted) -> torch.Tensor:
        return (network(example.slabs * example.hole) - example.slabs).abs().mean()


def test_a_new_objective_needs_a_file_and_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, type[Objective]] = {**OBJECTIVES, "inpainting": Inpainting}
    monkeypatch.setattr(objectives, "OBJECTIVES", known)
    monkeypatch.setattr("conddiffusion_uad.training.settings.OBJECTIVES", known)
    fit = '[fit]\nsamples = 32\nbatch = 8\nlearning_rate = 1e-2\nprecision = "fp32"\n'
    text = TINY_MODEL + fit + 'objective = { kind = "inpainting", side = 6 }\n' + SOURCE
    recipe = recipes.parse(recipes.tomllib.loads(text), text)
    assert recipe.fit.objective == Inpainting(side=6)
    learner = training(nn.Conv2d(1, 1, 3, padding=1), recipe.fit, 16)
    losses = [learner.advance() for _ in range(learner.steps)]
    assert losses[-1] < losses[0]
    with pytest.raises(ValueError, match="unknown key 'width'"):
        recipes.parse(recipes.tomllib.loads(text.replace("side = 6", "width = 6")))
