"""Weights as a safetensors file that tells what they are of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from conddiffusion_uad.bundle.limits import require_finite


def write(file: Path, weights: Mapping[str, torch.Tensor], key: str, told: Any) -> None:
    """Write weights, replacing the file in one move.

    Args:
        file: A safetensors file.
        weights: By name.
        key: Under which the file's metadata tell what they are of.
        told: What that is, a JSON value.
    """
    partial = file.with_suffix(".part")
    save_file({name: value.contiguous().cpu() for name, value in weights.items()}, partial, {key: canonical(told)})
    partial.chmod(0o644)  # safetensors lets nobody else read what it writes
    partial.replace(file)


def read(file: Path, key: str) -> tuple[dict[str, torch.Tensor], str | None, str]:
    """The weights of a file, what it tells under a key (JSON), and its SHA-256.

    Raises:
        OSError or ValueError: It is missing, no safetensors file, damaged, or has values that are no numbers.
    """
    try:
        with safe_open(file, framework="pt") as stored:
            told = (stored.metadata() or {}).get(key)
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (it is no mapping)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    require_finite(weights)
    return weights, told, hashlib.sha256(file.read_bytes()).hexdigest()


def canonical(told: Any) -> str:
    """A JSON value as one text, always the same."""
    return json.dumps(told, sort_keys=True)
