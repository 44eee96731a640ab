"""The weights of a bundle: one file for encoder and denoiser, and one for each further network of its method."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from conddiffusion_uad.bundle import limits
from conddiffusion_uad.bundle.config import BundleConfig
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.preprocessing.resampling import STEP

FOLDER, SUFFIX = "models", ".safetensors"
MODEL = "model"  # name of the weights of encoder and denoiser
WEIGHTS = f"{FOLDER}/{MODEL}{SUFFIX}"
_NETWORKS = "networks."  # begins the names of weights that lie in files of their own


def files(folder: Path) -> list[Path]:
    """All files with weights in a bundle's folder, those of encoder and denoiser first."""
    others = sorted(set((folder / FOLDER).glob(f"*{SUFFIX}")) - {folder / WEIGHTS})
    return [folder / WEIGHTS, *others]


def save(folder: Path, model: ConditionedDiffusion) -> None:
    """Write the weights of a model, in half precision where that can hold them, else in single precision.

    What further networks hold as buffers, such as statistics, is written as it is.

    Args:
        folder: The bundle's folder; weights that lie there are replaced.

    Raises:
        ValueError: Some weights are not numbers; nothing is written then.
    """
    networks = _separated(model)
    for weights in networks.values():
        limits.require_finite(weights)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for earlier in files(folder):
        earlier.unlink(missing_ok=True)
    for name, weights in networks.items():
        kept = {key for key, _ in model.networks[name].named_buffers()} if name != MODEL else set()
        save_file({key: _stored(value, halve=key not in kept) for key, value in weights.items()}, _file(folder, name))
        _file(folder, name).chmod(0o644)  # safetensors lets nobody else read what it writes


def load(folder: Path, config: BundleConfig) -> ConditionedDiffusion:
    """The networks that a configuration describes with the weights in a folder, on the CPU, in evaluation mode.

    Raises:
        OSError, SafetensorError, RuntimeError or ValueError: The weights are missing, damaged, no numbers, or of other
            networks.
    """
    learned = config.method.learned()
    limits.require_no_larger(lambda: _alone(config), _file(folder, MODEL))
    for name, part in learned.items():
        limits.require_no_larger(part.build, _file(folder, name))
    model = config.build()
    if STEP % model.divisor or any(size % model.divisor for size in config.grid.size[:2]):
        raise ValueError(f"its slices cannot be divided by {model.divisor}")
    state = _read(folder, MODEL)
    for name in learned:
        state |= {f"{_NETWORKS}{name}.{key}": value for key, value in _read(folder, name).items()}
    model.load_state_dict(state)
    return model.eval()


def _read(folder: Path, name: str) -> dict[str, torch.Tensor]:
    weights = load_file(_file(folder, name))
    limits.require_finite(weights)
    return weights


def _alone(config: BundleConfig) -> ConditionedDiffusion:
    """What the weights in ``WEIGHTS`` are of."""
    model = config.build()
    model.networks.clear()
    return model


def _separated(model: ConditionedDiffusion) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of a model by the file that they lie in."""
    shared = {name: value for name, value in model.state_dict().items() if not name.startswith(_NETWORKS)}
    return {MODEL: shared, **{name: dict(network.state_dict()) for name, network in model.networks.items()}}


def _stored(values: torch.Tensor, *, halve: bool) -> torch.Tensor:
    """Weights in half precision, unless one of them is too large for it."""
    if halve and values.is_floating_point():
        half = values.half()
        values = half if bool(torch.isfinite(half).all()) else values.float()
    return values.contiguous().cpu()


def _file(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}{SUFFIX}"
