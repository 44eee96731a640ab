"""The weights of a pre-trained encoder as a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from conddiffusion_uad.bundle.limits import require_finite
from conddiffusion_uad.model.residual_network import ResidualNetwork
from conddiffusion_uad.protocol.failures import BadInput

NAME = "encoder.safetensors"
_HEAD = "fc."  # the layer from features to condition: not pre-trained
_CONFIG = "encoder"  # key of the file's metadata


def save_encoder(file: Path, encoder: ResidualNetwork, config: Mapping[str, Any]) -> None:
    """Write the weights of an encoder without its head, in full precision.

    Args:
        config: Of :func:`build_encoder`; stored beside the weights, so that a mismatch can be told.
    """
    weights = {
        name: value.contiguous().cpu() for name, value in encoder.state_dict().items() if not name.startswith(_HEAD)
    }
    partial = file.with_suffix(".part")
    save_file(weights, partial, {_CONFIG: _canonical(config)})
    partial.chmod(0o644)  # safetensors lets nobody else read what it writes
    partial.replace(file)


def load_encoder(file: Path, encoder: ResidualNetwork, config: Mapping[str, Any]) -> str:
    """Put pre-trained weights into an encoder; its head stays as it is.

    Returns:
        The SHA-256 of the file.

    Raises:
        BadInput: ``bad_encoder`` when the file is missing, no safetensors file, damaged, or of another encoder.
    """
    try:
        with safe_open(file, framework="pt") as stored:
            made_for = (stored.metadata() or {}).get(_CONFIG)
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (it is no mapping)
        require_finite(weights)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except (OSError, ValueError, SafetensorError) as error:
        raise BadInput(
            "bad_encoder", f"{file} cannot be read: {error}.", "Give the file that `train pretrain` made."
        ) from error
    head = {name: value for name, value in encoder.state_dict().items() if name.startswith(_HEAD)}
    try:
        encoder.load_state_dict({**weights, **head})
    except RuntimeError as error:
        raise BadInput(
            "bad_encoder",
            f"{file} has the weights of another encoder ({made_for}).",
            f"The recipe's is {_canonical(config)}; pre-train with the same recipe.",
        ) from error
    return digest


def _canonical(config: Mapping[str, Any]) -> str:
    return json.dumps(config, sort_keys=True)
