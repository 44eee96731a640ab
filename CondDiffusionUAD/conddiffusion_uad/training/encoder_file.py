"""The weights of a pre-trained encoder as a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conddiffusion_uad.model.residual_network import ResidualNetwork
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training import weights_file

NAME = "encoder.safetensors"
_HEAD = "fc."  # the layer from features to condition: not pre-trained
_CONFIG = "encoder"  # key of the file's metadata


def save_encoder(file: Path, encoder: ResidualNetwork, config: Mapping[str, Any]) -> None:
    """Write the weights of an encoder without its head, in full precision.

    Args:
        config: Of :func:`build_encoder`; stored beside the weights, so that a mismatch can be told.
    """
    weights = {name: value for name, value in encoder.state_dict().items() if not name.startswith(_HEAD)}
    weights_file.write(file, weights, _CONFIG, config)


def load_encoder(file: Path, encoder: ResidualNetwork, config: Mapping[str, Any]) -> str:
    """Put pre-trained weights into an encoder; its head stays as it is.

    Returns:
        The SHA-256 of the file.

    Raises:
        BadInput: ``bad_encoder`` when the file is missing, no safetensors file, damaged, or of another encoder.
    """
    try:
        weights, made_for, digest = weights_file.read(file, _CONFIG)
    except (OSError, ValueError) as error:
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
            f"The recipe's is {weights_file.canonical(config)}; pre-train with the same recipe.",
        ) from error
    return digest
