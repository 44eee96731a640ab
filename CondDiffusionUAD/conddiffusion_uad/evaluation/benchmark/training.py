"""Speed of a training step, on a synthetic corpus in memory."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.evaluation.benchmark.brain import synthetic_brain
from conddiffusion_uad.evaluation.benchmark.speed import Speed, ceiling, counted_flop, in_turns
from conddiffusion_uad.model.fast.inference import PART
from conddiffusion_uad.model.precision import DTYPES
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.data.anatomy import TISSUES
from conddiffusion_uad.training.data.batches import batches
from conddiffusion_uad.training.data.corpus import Anatomy, Part, Scan
from conddiffusion_uad.training.distributed import Processes
from conddiffusion_uad.training.loop import Plan, Training
from conddiffusion_uad.training.recipe import Recipe

PAPER = "paper"  # the recipe of the published size
_STEPS = 1_000_000  # more than are taken
_TISSUE_MEDIANS = (0.3, 0.5, 0.7)  # of the synthetic scans


def measure_paper(device: torch.device, *, slices: int, rounds: int) -> list[Speed]:
    """`measure` of the published training."""
    return measure(recipes.load(PAPER), device, slices=slices, rounds=rounds)


def measure_bundle(name: str, device: torch.device, *, slices: int, rounds: int) -> list[Speed]:
    """`measure` of the training that made a bundle; nothing if it has no recipe. Raises BundleFailure or BadInput."""
    file = bundles.locate(name) / bundles.RECIPE
    return measure(recipes.load(str(file)), device, slices=slices, rounds=rounds) if file.is_file() else []


def measure(recipe: Recipe, device: torch.device, *, slices: int, rounds: int) -> list[Speed]:
    """Speed of training steps in both number formats, run in turns.

    Args:
        recipe: Of the network and of what it learns from.
        device: That computes.
        slices: In a batch.
        rounds: How many steps are measured.
    """
    trainings = [synthetic_training(recipe, device, precision, slices) for precision in DTYPES]
    flop = [counted_flop(training.advance) for training in trainings]
    seconds = np.array(in_turns([training.advance for training in trainings], device, rounds))
    columns, rows, _ = recipe.bundle.grid.size
    found = []
    for index, (precision, training) in enumerate(zip(DTYPES, trainings, strict=True)):
        found.append(
            Speed(
                name=recipe.name,
                form=precision,
                slices=slices,
                seconds=float(np.median(seconds[:, index])),
                flop=flop[index],
                ceiling=ceiling(training.network.denoiser, rows, columns, min(slices, PART), DTYPES[precision], device),
                ratio=float(np.median(seconds[:, 0] / seconds[:, index])),
                waiting=_waiting(training, rounds),
            )
        )
    return found


def _waiting(training: Training, steps: int) -> float:
    """Share of the time, over steps one after the other, in which data were waited for."""
    training.advance()
    waited, began = training.waited, time.perf_counter()
    for _ in range(steps):
        training.advance()
    return (training.waited - waited) / (time.perf_counter() - began)


def synthetic_training(recipe: Recipe, device: torch.device, precision: str, slices: int) -> Training:
    """The fit of a recipe with another batch and number format, on a synthetic brain in place of its sources."""
    torch.manual_seed(recipe.seed)
    settings = replace(recipe.fit, batch=slices, precision=precision)
    model = recipe.bundle.build().to(device)
    source = batches(recipe, _corpus(recipe, slices), slices, device)
    return Training(model, settings, Plan(source, model.noise, _STEPS, recipe.seed, "", Processes()))


def _corpus(recipe: Recipe, scans: int) -> list[Part]:
    """The sources of a recipe with so many copies of a synthetic brain each."""
    volume, mask = synthetic_brain(recipe.bundle.grid.size, recipe.bundle.grid.size[2])
    tissue = np.digitize(volume, np.linspace(0.3, 0.7, len(TISSUES) - 1))
    fractions = np.stack([*((tissue == index) & mask for index in range(len(TISSUES))), mask]).astype(np.uint8) * 255
    parts = []
    for source in recipe.sources:
        medians = _TISSUE_MEDIANS if source.contrast == "T1" else None
        scan = Scan("synthetic", source.contrast, volume.astype(np.float16), mask, medians)
        item = Anatomy("synthetic", fractions) if source.kind == "labels" else scan
        parts.append(Part(source, [item] * scans, []))
    return parts
