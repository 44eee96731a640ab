"""A training from recipe and data to pre-trained weights, to a bundle, and to a calibrated one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.method.condition.encoder import Encoder
from conddiffusion_uad.method.measures.severity import Severity
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.model.encoder import build_encoder
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training import encoder_file, metadata
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.calibration import calibrate, measure_features
from conddiffusion_uad.training.data.batches import batches
from conddiffusion_uad.training.data.corpus import Part
from conddiffusion_uad.training.distributed import Processes, processes
from conddiffusion_uad.training.environment import TrainingEnvironment, made
from conddiffusion_uad.training.loop import Plan, Training
from conddiffusion_uad.training.networks.masked_autoencoder import MaskedAutoencoder, patch_grid, seen_patches
from conddiffusion_uad.training.objectives.diffused_anomalies import DiffusedAnomalies
from conddiffusion_uad.training.objectives.masked_patches import MaskedPatches
from conddiffusion_uad.training.progress import TrainingLog
from conddiffusion_uad.training.recipe import Recipe
from conddiffusion_uad.training.settings import LearningSettings
from conddiffusion_uad.training.severity import learn_severity, require_healthy
from conddiffusion_uad.training.validation import Validation, can_judge

CHECKPOINT = "checkpoint.pt"  # of an unfinished training, beside the bundle's folders
SAFETENSORS = ".safetensors"


def pretrain_encoder(recipe: Recipe, output: Path, environment: TrainingEnvironment, log: TrainingLog) -> None:
    """Pre-train the encoder of a recipe and write its weights; resumes from the checkpoint beside them.

    Args:
        output: A .safetensors file, or a folder for one.

    Raises:
        BadInput: The recipe or the data cannot be used.
        DeviceFailure: The device is missing.
        OutputFailure: The weights cannot be written, or are there already.
    """
    _require_pretraining(recipe)
    config = _encoder(recipe).network
    file = output if output.suffix == SAFETENSORS else output / encoder_file.NAME
    environment.require_new([file])
    checkpoint = made(file.parent) / f"{file.stem}-{CHECKPOINT}"
    with processes(environment.device) as (together, device):
        together.check(recipe.pretrain.batch)
        log = log if together.first else TrainingLog()
        corpus = environment.corpus(recipe, log, together)
        torch.manual_seed(recipe.seed)
        encoder = build_encoder(config, 1)  # its head is not pre-trained
        network = MaskedAutoencoder(encoder, recipe.pretrain.width).to(device)
        plan = _plan(recipe, recipe.pretrain, corpus, device, together, augment=False)
        training = Training(network, recipe.pretrain, plan)
        training.run(checkpoint, log, environment.checkpoint_seconds)
        if together.first:
            encoder_file.save_encoder(file, training.result().encoder.encoder, config)
            encoder_file.load_encoder(file, build_encoder(config, 1), config)  # only what can be used ends a training
            checkpoint.unlink()
            log(f"Wrote {file}; fit with --encoder {file}")


def _require_pretraining(recipe: Recipe) -> None:
    """Raise BadInput unless the encoder of a recipe can learn from masked patches of its slices."""
    width, height = recipe.bundle.grid.size[:2]
    if patch_grid(height, width) == (1, 1):
        raise BadInput(
            "slices_too_small", f"A slice of {height} x {width} is a single patch.", "Use a finer grid, or no pretrain."
        )
    objective = recipe.pretrain.objective
    assert isinstance(objective, MaskedPatches)  # the only one that pre-trains
    if recipe.pretrain.batch * seen_patches(height, width, objective.masked) == 1:
        raise BadInput(
            "bad_recipe",
            "Of a batch of one slice a single patch is seen, which batch normalization turns into zero.",
            "Set pretrain.batch to 2 or more.",
        )
    if _encoder(recipe).network.get("norm", "batch") != "batch":
        raise BadInput(
            "no_pretraining",
            "Masked pre-training needs batch normalization, whose statistics leave out what is masked.",
            "Leave out the pre-training, or take the condition encoder.",
        )


def fit_bundle(
    recipe: Recipe,
    output: Path,
    environment: TrainingEnvironment,
    log: TrainingLog,
    encoder: Path | None = None,
    start: str | None = None,
    lesions: Path | None = None,
) -> None:
    """Fit the model of a recipe and write it as a bundle; resumes from the checkpoint in ``output``.

    Args:
        encoder: Pre-trained weights to start from instead of those that the recipe names.
        start: Name or folder of a bundle with the same network, whose weights the training goes on from.
        lesions: File of a lesion diffusion that draws anomalies instead of the one that the recipe names.

    Raises:
        BadInput: The recipe, the data, the pre-trained weights, the lesion diffusion or the bundle to start from
            cannot be used.
        BundleFailure: The bundle to start from cannot be loaded, or what was learned cannot be used.
        DeviceFailure: The device is missing.
        OutputFailure: The bundle cannot be written, or is there already.
    """
    environment.require_new(output / name for name in (bundles.METADATA, bundles.WEIGHTS, bundles.RECIPE))
    recipe, drawer = _with_lesions(recipe, lesions)
    torch.manual_seed(recipe.seed)
    model = recipe.bundle.build()
    model.networks.requires_grad_(False)  # parts of the method that are trained by themselves
    earlier = _go_on_from(start, model, recipe) if start else None
    weights = encoder or recipe.encoder
    digest = weights and encoder_file.load_encoder(weights, model.encoder, _encoder(recipe).network)
    checkpoint = made(output) / CHECKPOINT
    with processes(environment.device) as (together, device):
        together.check(recipe.fit.batch)
        log = log if together.first else TrainingLog()
        if others := _trained_apart(recipe):
            log(others)
        corpus = environment.corpus(recipe, log, together)
        require_healthy(recipe.bundle, corpus)
        model = model.to(device)
        plan = _plan(recipe, recipe.fit, corpus, device, together, origins=(digest, earlier and earlier.sha256, drawer))
        around = getattr(recipe.fit.objective, "around", None)
        network = model if around is None else around(model).to(device)
        training = Training(network, recipe.fit, plan, _judge(recipe, corpus, model, device, log))
        training.run(checkpoint, log, environment.checkpoint_seconds)
        if together.first:
            fitted = training.result() if around is None else training.result().model
            graded = learn_severity(fitted, recipe.bundle, corpus, recipe.seed, log)
            told = metadata.metadata(recipe, corpus, digest, earlier) | graded
            told |= {} if drawer is None else {"lesion_drawer": drawer}
            bundles.save(output, recipe.bundle, fitted, told)
            (output / bundles.RECIPE).write_text(recipe.text, encoding="utf-8", newline="\n")
            bundles.load(str(output))  # only a bundle that can be loaded ends a training
            checkpoint.unlink()
            log(f"Wrote {output}; {others or 'now calibrate it'}")


def calibrate_bundle(
    folder: Path, environment: TrainingEnvironment, log: TrainingLog, *, gate_only: bool = False
) -> None:
    """Calibrate a bundle on the data that its recipe holds out, measure what its input gate compares with, seal it.

    Raises:
        BadInput: ``recipe_not_found`` when the folder has no recipe, or the data cannot be used.
        BundleFailure: The bundle cannot be loaded.
        DeviceFailure: The device is missing.
        OutputFailure: The bundle is calibrated already.
    """
    if not (folder / bundles.RECIPE).is_file():
        raise BadInput(
            "recipe_not_found", f"{folder} has no {bundles.RECIPE}.", "Give the folder that `train fit` made."
        )
    environment.require_new(folder / name for name in ([] if gate_only else [bundles.CALIBRATION]) + [bundles.GATE])
    recipe = recipes.load(str(folder / bundles.RECIPE))
    device = choose(environment.device)
    bundle = bundles.load(str(folder)).to(device, environment.precision)
    corpus = environment.corpus(recipe, log, Processes())
    held_out, split = metadata.held_out(corpus), metadata.split(corpus)
    if bundle.metadata.get("held_out") != held_out or bundle.metadata.get("split", split) != split:
        raise BadInput(
            "other_split",
            f"{environment.data} does not hold out the scans that {folder} was not trained on.",
            "Give the data folder that it was fitted to.",
        )
    if not gate_only:
        measured = calibrate(bundle, corpus, recipe.seed, log)
        bundles.save_calibration(folder, measured, {"device": device.type, "precision": bundle.precision})
    bundles.save_gate(folder, measure_features(bundle, corpus, recipe.seed, log))
    log(f"Calibrated {folder} in {bundle.precision} on {device.type}")


def _encoder(recipe: Recipe) -> Encoder:
    """The encoder of a recipe. Raises BadInput("no_encoder") when it has none."""
    condition = recipe.bundle.method.condition
    if not isinstance(condition, Encoder):
        raise BadInput("no_encoder", "A model without condition has no encoder.", "Leave out --encoder.")
    return condition


def _trained_apart(recipe: Recipe) -> str:
    """What is to be told of networks of a method that a fit leaves as they are; empty when there is none."""
    found_here = {part.weights for part in recipe.bundle.method.measures if isinstance(part, Severity)}
    others = sorted(set(recipe.bundle.method.learned()) - found_here)
    if not others:
        return ""
    return (
        f"this fits the denoiser only, and {' and '.join(others)} after it: train the map with `python -m "
        "conddiffusion_uad.training.learned_map` and put it beside the denoiser with make_bundle.py, which calibrates "
        "the whole (docs/TRAINING.md, A learned anomaly map)"
    )


def _with_lesions(recipe: Recipe, lesions: Path | None) -> tuple[Recipe, str | None]:
    """The recipe with what draws its anomalies, and the hash of that, if it is drawn. Raises BadInput."""
    objective = recipe.fit.objective
    if not isinstance(objective, DiffusedAnomalies):
        if lesions:
            raise BadInput(
                "bad_option",
                f"No anomaly of the recipe {recipe.name} is drawn by a diffusion model.",
                "Leave out --lesions, or take the objective diffused_anomalies.",
            )
        return recipe, None
    objective = replace(objective, lesions=str(lesions)) if lesions else objective
    return replace(recipe, fit=replace(recipe.fit, objective=objective)), objective.drawer().digest


def _go_on_from(start: str, model: ConditionedDiffusion, recipe: Recipe) -> Bundle:
    """Give a model the weights of a bundle, and return the bundle. Raises BadInput or BundleFailure."""
    earlier = bundles.load(start)
    if earlier.config.network != recipe.bundle.network:
        raise BadInput(
            "other_network",
            f"The bundle {earlier.name} has another network than the recipe {recipe.name}.",
            "Start from a bundle whose recipe has the same denoiser, context, condition and noise.",
        )
    model.load_state_dict(earlier.trainable.state_dict())
    return earlier


def _judge(
    recipe: Recipe, corpus: Sequence[Part], model: ConditionedDiffusion, device: torch.device, log: TrainingLog
) -> Validation | None:
    """What judges the model, if the recipe wants that and there is data. Raises BadInput("no_validation_data")."""
    if not recipe.validation.every:
        return None
    if can_judge(corpus):
        return Validation(recipe, corpus, model.noise, device)
    if recipe.validation.keep == "best":
        raise BadInput(
            "no_validation_data",
            "Nothing is held out that could tell which weights are the best.",
            'Hold out a part of a source that is learned from, or keep the "last".',
        )
    log("Nothing is held out of what is learned from, so nothing is validated")
    return None


def _plan(
    recipe: Recipe,
    settings: LearningSettings,
    corpus: Sequence[Part],
    device: torch.device,
    together: Processes,
    *,
    augment: bool = True,
    origins: Sequence[str | None] = (),
) -> Plan:
    """How a training with these settings goes on."""
    source = batches(recipe, corpus, settings.batch, device, augment=augment)
    decides = (recipe.seed, recipe.bundle.network, recipe.bundle.grid, settings, recipe.sampling, recipe.validation)
    identity = repr((*decides, recipe.sources, metadata.split(corpus), *filter(None, origins)))
    noise, steps = recipe.bundle.method.noise, settings.steps(source.per_epoch)
    return Plan(source, noise, steps, recipe.seed, hashlib.sha256(identity.encode()).hexdigest(), together)
