"""Masked pre-training of the encoder, and the hand-over of its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import ResNet
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.loop import Plan, Training
from conddiffusion_uad.training.objectives.masked_autoencoder import MaskedAutoencoder, masked_error, random_patches
from conddiffusion_uad.training.recipe import PretrainSettings

WEIGHTS = "encoder.safetensors"
_HEAD = "fc."  # the layer from features to condition: not pre-trained
_CONFIG = "encoder"  # key of the file's metadata


@dataclass(frozen=True)
class Masked:
    """What a step of the pre-training learns from.

    Attributes:
        slices: (B, 1, H, W) in [0, 1].
        seen: Which of their patches are seen, see :func:`random_patches`.
    """

    slices: torch.Tensor
    seen: torch.Tensor


class Pretraining(Training[Masked]):
    """Guess the masked patches of healthy slices: the encoder of the result knows what brains look like.

    Args:
        model: The auto-encoder, on its device.
        settings: How long and how fast.
        plan: How it goes on from step to step.
    """

    def __init__(self, model: MaskedAutoencoder, settings: PretrainSettings, plan: Plan) -> None:
        self.model = model.to(memory_format=torch.channels_last).train()
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
        )
        self.settings = settings
        self._parallel = plan.processes.parallel(self.model)
        super().__init__({"model": self.model, "optimizer": self.optimizer}, plan, next(model.parameters()).device)

    def prepare(self, slices: torch.Tensor, generator: torch.Generator) -> Masked:
        seen = random_patches(slices, self.settings.masked, generator)
        return Masked(self._processes.share(slices), self._processes.share(seen))

    def learn(self, example: Masked) -> float:
        """Learn from slices and return the loss, the mean squared error in the masked patches."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            guess = self._parallel(example.slices, example.seen)
        loss = masked_error(guess, example.slices, example.seen)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return self._processes.mean(loss)


def save_encoder(file: Path, encoder: ResNet, config: Mapping[str, Any]) -> None:
    """Write the weights of an encoder without its head, in full precision.

    Args:
        file: A safetensors file.
        encoder: What was pre-trained.
        config: Of :func:`build_encoder`; stored beside the weights, so that a mismatch can be told.
    """
    weights = {
        name: value.contiguous().cpu() for name, value in encoder.state_dict().items() if not name.startswith(_HEAD)
    }
    partial = file.with_suffix(".part")
    save_file(weights, partial, {_CONFIG: _canonical(config)})
    partial.chmod(0o644)  # safetensors lets nobody else read what it writes
    partial.replace(file)


def load_encoder(file: Path, encoder: ResNet, config: Mapping[str, Any]) -> str:
    """Put pre-trained weights into an encoder; its head stays as it is.

    Returns:
        The SHA-256 of the file.

    Raises:
        BadInput: ``bad_encoder`` when the file is missing, no safetensors file, or of another encoder.
    """
    try:
        with safe_open(file, framework="pt") as stored:
            made_for = (stored.metadata() or {}).get(_CONFIG)
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (it is no mapping)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except (OSError, SafetensorError) as error:
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
