"""Teaching a diffusion model to draw lesions; see ``training.synthetic_anomalies.diffused``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from conddiffusion_uad.method.noise.gaussian import Gaussian
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.distributed import processes
from conddiffusion_uad.training.environment import TrainingEnvironment, made
from conddiffusion_uad.training.loop import Plan, Training
from conddiffusion_uad.training.progress import TrainingLog
from conddiffusion_uad.training.recipe import Recipe
from conddiffusion_uad.training.synthetic_anomalies.diffused import lesion_file
from conddiffusion_uad.training.synthetic_anomalies.diffused.learning import LesionBatches
from conddiffusion_uad.training.synthetic_anomalies.diffused.network import LesionDiffusion
from conddiffusion_uad.training.synthetic_anomalies.diffused.pairs import lesion_slices


def train_lesions(
    recipe: Recipe, labels: Path, output: Path, environment: TrainingEnvironment, log: TrainingLog
) -> None:
    """Teach the lesion diffusion of a recipe and write it; resumes from the checkpoint beside the file.

    Args:
        recipe: Says everything about the training in its table ``[lesions]``.
        labels: Table of scans and lesion maps, see ``pairs``.
        output: A .safetensors file, or a folder for one.
        environment: Folder of the scans, and the device.
        log: Told what happens.

    Raises:
        BadInput: The recipe has no such table, or the scans cannot be used.
        DeviceFailure: The device is missing.
        OutputFailure: The file cannot be written, or is there already.
    """
    settings, grid = recipe.lesions, recipe.bundle.grid
    if settings is None:
        raise BadInput("no_lesions", f"The recipe {recipe.name} has no table [lesions].", "Take lesion-simulator.")
    file = output if output.suffix == ".safetensors" else output / lesion_file.NAME
    environment.require_new([file])
    torch.manual_seed(recipe.seed)
    network = LesionDiffusion(settings.network)
    if any(size % network.denoiser.divisor for size in grid.size[:2]):
        raise BadInput(
            "bad_recipe", f"Its slices cannot be divided by {network.denoiser.divisor}.", "Change lesions.network."
        )
    checkpoint = made(file.parent) / f"{file.stem}-checkpoint.pt"
    with processes(environment.device) as (together, device):
        together.check(settings.batch)
        log = log if together.first else TrainingLog()
        slices = lesion_slices(labels, environment.data, grid, log, skip_bad=environment.skip_bad)
        log(f"Learning from {len(slices)} slices with lesions")
        source = LesionBatches(slices, settings.batch)
        decides = (recipe.seed, grid, settings, [(each.scan, int(each.mask.sum())) for each in slices])
        identity = hashlib.sha256(repr(decides).encode()).hexdigest()
        plan = Plan(source, Gaussian(), settings.steps(source.per_epoch), recipe.seed, identity, together)
        training = Training(network.to(device), settings, plan)
        training.run(checkpoint, log, environment.checkpoint_seconds)
        if together.first:
            x, y, _ = grid.spacing
            learned = lesion_file.Learned.of(slices, x * y)
            lesion_file.save(file, training.result(), settings.network, learned)
            lesion_file.load(file)  # only what can be used ends a training
            checkpoint.unlink()
            log(f"Wrote {file}; fit with --recipe {recipe.name} --lesions {file}")
