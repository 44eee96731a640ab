"""What a bundle's metadata tells about its training."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from conddiffusion_uad import __version__
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.protocol.failures import RESEARCH_USE
from conddiffusion_uad.training.data import splits
from conddiffusion_uad.training.data.corpus import Part, split_of
from conddiffusion_uad.training.recipe import Recipe


def held_out(corpus: Sequence[Part]) -> list[str]:
    """Names of the files that were not trained on, but validated and calibrated on."""
    return [item.name for part in corpus for item in part.held_out]


def split(corpus: Sequence[Part]) -> dict[str, Any]:
    """How many subjects were trained on and how many were not, and a hash of which."""
    assignment = split_of(corpus)
    counts = Counter(assignment.values())
    return {"sha256": splits.digest(assignment), **{name: counts[name] for name in splits.SPLITS}}


def metadata(recipe: Recipe, corpus: Sequence[Part], encoder: str | None, earlier: Bundle | None) -> dict[str, Any]:
    """The fields that MONAI's bundle schema asks for, and what was trained on and what was not.

    Args:
        encoder: Hash of the pre-trained weights that it started from, if any.
        earlier: Bundle that it went on from, if any.
    """
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
        "description": f"Conditioned diffusion model {recipe.name!r}. {RESEARCH_USE}.",
        "authors": "CondDiffusionUAD contributors",
        "copyright": "CondDiffusionUAD contributors",
        "held_out": held_out(corpus),
        "test": [name for part in corpus for name in part.test],
        "split": split(corpus),
        "pretrained_encoder": encoder,
        "started_from": earlier and earlier.sha256,
        splits.TRAINED_ON: _trained_on(corpus, earlier),
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": image}},
    }


def _trained_on(corpus: Sequence[Part], earlier: Bundle | None) -> list[str]:
    """Hashes of the subjects that were trained on, now or when an earlier bundle was made."""
    now = {splits.subject_hash(name) for name, side in split_of(corpus).items() if side == splits.TRAIN}
    return sorted(now.union(earlier.metadata.get(splits.TRAINED_ON, ()) if earlier else ()))
