"""A training from recipe and data to pre-trained weights, to a bundle, and to a calibrated one."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from conddiffusion_uad import __version__
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.method.condition.encoder import Encoder
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.model.encoder import build_encoder
from conddiffusion_uad.protocol.failures import BadInput, OutputFailure
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.calibration import calibrate
from conddiffusion_uad.training.data import splits
from conddiffusion_uad.training.data.batches import batches
from conddiffusion_uad.training.data.corpus import Part, load_corpus, split_of
from conddiffusion_uad.training.distributed import Processes, processes
from conddiffusion_uad.training.healthy_features import measure_features
from conddiffusion_uad.training.loop import CHECKPOINT_SECONDS, Plan
from conddiffusion_uad.training.objectives.fitting import Fitting
from conddiffusion_uad.training.objectives.masked_autoencoder import MaskedAutoencoder, patch_grid
from conddiffusion_uad.training.objectives.pretraining import WEIGHTS, Pretraining, load_encoder, save_encoder
from conddiffusion_uad.training.progress import TrainingLog
from conddiffusion_uad.training.validation import Validation

CHECKPOINT = "checkpoint.pt"  # of an unfinished training, beside the bundle's folders
SAFETENSORS = ".safetensors"


@dataclass(frozen=True)
class Means:
    """What a training works with.

    Attributes:
        data: Folder that the recipe's sources are in, or a datalist.
        cache: Folder of prepared scans.
        device: See :func:`choose`.
        skip_bad: Whether to go on without files that cannot be used.
        checkpoint_seconds: Between two checkpoints.
    """

    data: Path
    cache: Path
    device: str = "auto"
    skip_bad: bool = False
    checkpoint_seconds: float = CHECKPOINT_SECONDS

    def corpus(self, recipe: recipes.Recipe, log: TrainingLog, together: Processes) -> list[Part]:
        """The prepared data of a recipe; the first process prepares them for all. Raises Failure."""
        if not together.first:
            together.wait()
        corpus = load_corpus(recipe.sources, self.data, recipe.bundle.grid, self.cache, log, skip_bad=self.skip_bad)
        if together.first:
            together.wait()
        return corpus


def pretrain_encoder(recipe: recipes.Recipe, output: Path, means: Means, log: TrainingLog) -> None:
    """Pre-train the encoder of a recipe and write its weights; resumes from the checkpoint beside them.

    Args:
        recipe: Says everything about the training.
        output: A .safetensors file, or a folder for one.
        means: Data and device.
        log: Told what happens.

    Raises:
        BadInput: The recipe or the data cannot be used.
        DeviceFailure: The device is missing.
        OutputFailure: The weights cannot be written.
    """
    width, height = recipe.bundle.grid.size[:2]
    if patch_grid(height, width) == (1, 1):
        raise BadInput(
            "slices_too_small", f"A slice of {height} x {width} is a single patch.", "Use a finer grid, or no pretrain."
        )
    file = output if output.suffix == SAFETENSORS else output / WEIGHTS
    checkpoint = _made(file.parent) / f"{file.stem}-{CHECKPOINT}"
    with processes(means.device) as (together, device):
        together.check(recipe.pretrain.batch)
        log = log if together.first else TrainingLog()
        corpus = means.corpus(recipe, log, together)
        torch.manual_seed(recipe.seed)
        config = _encoder(recipe).network
        encoder = build_encoder(config, 1)  # its head is not pre-trained
        model = MaskedAutoencoder(encoder, recipe.pretrain.width).to(device)
        plan = _plan(recipe, recipe.pretrain, corpus, device, together, augment=False)
        Pretraining(model, recipe.pretrain, plan).run(checkpoint, log, means.checkpoint_seconds)
        if together.first:
            save_encoder(file, encoder, config)
            checkpoint.unlink()
            log(f"Wrote {file}; fit with --encoder {file}")


def fit_bundle(
    recipe: recipes.Recipe,
    output: Path,
    means: Means,
    log: TrainingLog,
    encoder: Path | None = None,
    start: str | None = None,
) -> None:
    """Fit the model of a recipe and write it as a bundle; resumes from the checkpoint in ``output``.

    Args:
        recipe: Says everything about the training.
        output: Folder of the bundle.
        means: Data and device.
        log: Told what happens.
        encoder: Pre-trained weights to start from instead of those that the recipe names.
        start: Name or folder of a bundle with the same network, whose weights the training goes on from.

    Raises:
        BadInput: The recipe, the data, the pre-trained weights or the bundle to start from cannot be used.
        BundleFailure: The bundle to start from cannot be loaded.
        DeviceFailure: The device is missing.
        OutputFailure: The bundle cannot be written.
    """
    torch.manual_seed(recipe.seed)
    model = recipe.bundle.build()
    earlier = _go_on_from(start, model, recipe) if start else None
    weights = encoder or recipe.encoder
    digest = weights and load_encoder(weights, model.encoder, _encoder(recipe).network)
    checkpoint = _made(output) / CHECKPOINT
    with processes(means.device) as (together, device):
        together.check(recipe.fit.batch)
        log = log if together.first else TrainingLog()
        corpus = means.corpus(recipe, log, together)
        plan = _plan(recipe, recipe.fit, corpus, device, together, origins=(digest, earlier and earlier.sha256))
        judged = recipe.validation.every and any(part.held_out for part in corpus)
        fitting = Fitting(model.to(device), recipe.fit, plan, Validation(recipe, corpus, device) if judged else None)
        fitting.run(checkpoint, log, means.checkpoint_seconds)
        if together.first:
            bundles.save(output, recipe.bundle, fitting.result(), _metadata(recipe, corpus, digest, earlier))
            (output / bundles.RECIPE).write_text(recipe.text, encoding="utf-8", newline="\n")
            checkpoint.unlink()
            log(f"Wrote {output}; now calibrate it")


def calibrate_bundle(folder: Path, means: Means, log: TrainingLog, *, gate_only: bool = False) -> None:
    """Calibrate a bundle on the data that its recipe holds out, measure what its input gate compares with, seal it.

    Args:
        folder: The bundle's.
        means: Data and device.
        log: Told what happens.
        gate_only: Whether the calibration stays as it is.

    Raises:
        BadInput: ``recipe_not_found`` when the folder has no recipe, or the data cannot be used.
        BundleFailure: The bundle cannot be loaded.
        DeviceFailure: The device is missing.
    """
    if not (folder / bundles.RECIPE).is_file():
        raise BadInput(
            "recipe_not_found", f"{folder} has no {bundles.RECIPE}.", "Give the folder that `train fit` made."
        )
    recipe = recipes.load(str(folder / bundles.RECIPE))
    bundle = bundles.load(str(folder)).to(choose(means.device))
    corpus = means.corpus(recipe, log, Processes())
    split = _split(corpus)
    if bundle.metadata.get("held_out") != _held_out(corpus) or bundle.metadata.get("split", split) != split:
        raise BadInput(
            "other_split",
            f"{means.data} does not hold out the scans that {folder} was not trained on.",
            "Give the data folder that it was fitted to.",
        )
    if not gate_only:
        bundles.save_calibration(folder, calibrate(bundle, corpus, recipe.seed, log))
    bundles.save_gate(folder, measure_features(bundle, corpus, recipe.seed, log))
    log(f"Calibrated {folder}")


def _encoder(recipe: recipes.Recipe) -> Encoder:
    """The encoder of a recipe. Raises BadInput when it has none."""
    condition = recipe.bundle.method.condition
    if not isinstance(condition, Encoder):
        raise BadInput("no_encoder", "A model without condition has no encoder.", "Leave out --encoder.")
    return condition


def _go_on_from(start: str, model: ConditionedDiffusion, recipe: recipes.Recipe) -> Bundle:
    """Give a model the weights of a bundle, and return the bundle. Raises BadInput or BundleFailure."""
    earlier = bundles.load(start)
    if earlier.config.network != recipe.bundle.network:
        raise BadInput(
            "other_network",
            f"The bundle {earlier.name} has another network than the recipe {recipe.name}.",
            "Start from a bundle whose recipe has the same [model].",
        )
    model.load_state_dict(earlier.trainable.state_dict())
    return earlier


def _held_out(corpus: Sequence[Part]) -> list[str]:
    return [item.name for part in corpus for item in part.held_out]


def _trained_on(corpus: Sequence[Part], earlier: Bundle | None) -> list[str]:
    """Hashes of the subjects that were trained on, now or when an earlier bundle was made."""
    now = {splits.subject_hash(name) for name, split in split_of(corpus).items() if split == splits.TRAIN}
    return sorted(now.union(earlier.metadata.get(splits.TRAINED_ON, ()) if earlier else ()))


def _split(corpus: Sequence[Part]) -> dict[str, Any]:
    """How many subjects were trained on and how many were not, and a hash of which."""
    split = split_of(corpus)
    counts = Counter(split.values())
    return {"sha256": splits.digest(split), **{name: counts[name] for name in splits.SPLITS}}


def _plan(
    recipe: recipes.Recipe,
    settings: recipes.FitSettings | recipes.PretrainSettings,
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
    identity = repr((*decides, recipe.sources, _split(corpus), *filter(None, origins)))
    steps = settings.steps(settings.batch, source.per_epoch)
    return Plan(source, steps, recipe.seed, hashlib.sha256(identity.encode()).hexdigest(), together)


def _made(folder: Path) -> Path:
    """The folder, made if needed. Raises OutputFailure("cannot_write")."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFailure("cannot_write", f"{folder} cannot be made.", "Give another --output.") from error
    return folder


def _metadata(
    recipe: recipes.Recipe, corpus: Sequence[Part], encoder: str | None, earlier: Bundle | None
) -> dict[str, Any]:
    """The fields that MONAI's bundle schema asks for, and what was not trained on."""
    height, width = recipe.bundle.grid.size[1::-1]
    image = {
        "type": "image",
        "format": "magnitude",
        "num_channels": 1,
        "spatial_shape": [height, width],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {"0": "image"},
    }
    return {
        "version": __version__,
        "changelog": {__version__: "First training."},
        "monai_version": importlib.metadata.version("monai"),
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": importlib.metadata.version("numpy"),
        "required_packages_version": {},
        "task": "Unsupervised anomaly detection in brain MRI by pseudo-healthy reconstruction",
        "description": f"Conditioned diffusion model {recipe.name!r}. Research use only, not a medical device.",
        "authors": "CondDiffusionUAD contributors",
        "copyright": "CondDiffusionUAD contributors",
        "held_out": _held_out(corpus),
        "test": [name for part in corpus for name in part.test],
        "split": _split(corpus),
        "pretrained_encoder": encoder,
        "started_from": earlier and earlier.sha256,
        splits.TRAINED_ON: _trained_on(corpus, earlier),
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": image}},
    }
