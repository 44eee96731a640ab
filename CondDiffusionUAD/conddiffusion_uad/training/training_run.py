"""A training from recipe and data to a bundle."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from conddiffusion_uad import __version__
from conddiffusion_uad.model import bundle as bundles
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.model.encoder import build_encoder
from conddiffusion_uad.protocol import BadInput

from . import recipe as recipes
from .calibration import calibrate
from .corpus import Part, load_corpus
from .fitting import Fitting
from .masked_autoencoder import MaskedAutoencoder, patch_grid
from .pretraining import WEIGHTS, Pretraining, load_encoder, save_encoder
from .sampling import BatchSampler

CHECKPOINT = "checkpoint.pt"  # of an unfinished training, beside the bundle's folders
SAFETENSORS = ".safetensors"
Log = Callable[[str], None]


def pretrain_encoder(recipe_name: str, data: Path, output: Path, cache: Path, device_name: str, log: Log) -> None:
    """Pre-train the encoder of a recipe and write its weights; resumes from the checkpoint beside them.

    Args:
        recipe_name: Name of a shipped recipe, or the path of one.
        data: Folder that the recipe's sources are in.
        output: A .safetensors file, or a folder for one.
        cache: Folder of prepared scans.
        device_name: See :func:`choose`.
        log: Told what happens.

    Raises:
        BadInput: The recipe or the data cannot be used.
        DeviceFailure: The device is missing.
    """
    recipe, device = recipes.load(recipe_name), choose(device_name)
    width, height = recipe.bundle.grid.size[:2]
    if patch_grid(height, width) == (1, 1):
        raise BadInput(
            "slices_too_small", f"A slice of {height} x {width} is a single patch.", "Use a finer grid, or no pretrain."
        )
    corpus = load_corpus(recipe.sources, data, recipe.bundle.grid, cache, log)
    torch.manual_seed(recipe.seed)
    config = recipe.bundle.model["encoder"]
    encoder = build_encoder(config, recipe.bundle.model["condition"])
    model = MaskedAutoencoder(encoder, recipe.pretrain.width).to(device)
    file = output if output.suffix == SAFETENSORS else output / WEIGHTS
    file.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = file.with_name(f"{file.stem}-{CHECKPOINT}")
    Pretraining(model, BatchSampler(corpus, device), recipe.pretrain, recipe.seed).run(checkpoint, log)
    save_encoder(file, encoder, config)
    checkpoint.unlink()
    log(f"Wrote {file}; fit with --encoder {file}")


def fit_bundle(
    recipe_name: str,
    data: Path,
    output: Path,
    cache: Path,
    device_name: str,
    log: Log,
    encoder: Path | None = None,
) -> None:
    """Fit the model of a recipe and write it as a bundle; resumes from the checkpoint in ``output``.

    Args:
        recipe_name: Name of a shipped recipe, or the path of one.
        data: Folder that the recipe's sources are in.
        output: Folder of the bundle.
        cache: Folder of prepared scans.
        device_name: See :func:`choose`.
        log: Told what happens.
        encoder: Pre-trained weights to start from instead of those that the recipe names.

    Raises:
        BadInput: The recipe, the data or the pre-trained weights cannot be used.
        DeviceFailure: The device is missing.
    """
    recipe, device = recipes.load(recipe_name), choose(device_name)
    torch.manual_seed(recipe.seed)
    model = ConditionedDiffusion(recipe.bundle.model)
    weights = encoder or recipe.encoder
    digest = weights and load_encoder(weights, model.encoder, recipe.bundle.model["encoder"])
    corpus = load_corpus(recipe.sources, data, recipe.bundle.grid, cache, log)
    fitting = Fitting(model.to(device), BatchSampler(corpus, device), recipe.fit, recipe.seed, digest)
    output.mkdir(parents=True, exist_ok=True)
    fitted = fitting.run(output / CHECKPOINT, log)
    bundles.save(output, recipe.bundle, fitted, {**_metadata(recipe, corpus), "pretrained_encoder": digest})
    (output / bundles.RECIPE).write_text(recipe.text, encoding="utf-8", newline="\n")
    (output / CHECKPOINT).unlink()
    log(f"Wrote {output}; now calibrate it")


def calibrate_bundle(folder: Path, data: Path, cache: Path, device_name: str, log: Log) -> None:
    """Calibrate a bundle on the data that its recipe holds out, and seal it.

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
    bundle = bundles.load(str(folder)).to(choose(device_name))
    corpus = load_corpus(recipe.sources, data, recipe.bundle.grid, cache, log)
    if bundle.metadata.get("held_out") != _held_out(corpus):
        raise BadInput(
            "other_split",
            f"{data} does not hold out the scans that {folder} was not trained on.",
            "Give the data folder that it was fitted to.",
        )
    bundles.save_calibration(folder, calibrate(bundle, corpus, recipe.seed, log))
    log(f"Calibrated {folder}")


def _held_out(corpus: Sequence[Part]) -> list[str]:
    return [item.name for part in corpus for item in part.held_out]


def _metadata(recipe: recipes.Recipe, corpus: Sequence[Part]) -> dict[str, Any]:
    """The fields that MONAI's bundle schema asks for, and the scans that were not trained on."""
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
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": image}},
    }
