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
from conddiffusion_uad.protocol import BadInput

from . import recipe as recipes
from .calibration import calibrate
from .corpus import Part, load_corpus
from .fitting import Fitting
from .sampling import BatchSampler

CHECKPOINT = "checkpoint.pt"  # of an unfinished training, beside the bundle's folders
Log = Callable[[str], None]


def fit_bundle(recipe_name: str, data: Path, output: Path, cache: Path, device_name: str, log: Log) -> None:
    """Fit the model of a recipe and write it as a bundle; resumes from the checkpoint in ``output``.

    Raises:
        BadInput: The recipe or the data cannot be used.
        DeviceFailure: The device is missing.
    """
    recipe, device = recipes.load(recipe_name), choose(device_name)
    corpus = load_corpus(recipe.sources, data, recipe.bundle.grid, cache, log)
    torch.manual_seed(recipe.seed)
    model = ConditionedDiffusion(recipe.bundle.model).to(device)
    fitting = Fitting(model, BatchSampler(corpus, device), recipe.fit, recipe.seed)
    output.mkdir(parents=True, exist_ok=True)
    fitted = fitting.run(output / CHECKPOINT, log)
    bundles.save(output, recipe.bundle, fitted, _metadata(recipe, corpus))
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
