"""Tiny lesion diffusions: what recipes say of them, and one whose weights are still random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.synthetic_anomalies.diffused import lesion_file
from conddiffusion_uad.training.synthetic_anomalies.diffused.lesion_file import Learned
from conddiffusion_uad.training.synthetic_anomalies.diffused.network import LesionDiffusion, LesionNetwork

TINY_DENOISER = {"base": 8, "multipliers": [1, 2], "blocks": 1, "head_channels": 8, "groups": 4, "patch": 1}
TINY_LESIONS: dict[str, Any] = {
    "samples": 16,
    "batch": 8,
    "warm_up": 0,
    "precision": "fp32",
    "network": {"denoiser": TINY_DENOISER, "halo": 1},
}


def unlearned_drawer(file: Path, contrasts: Sequence[str], largest_mm2: float = 1e6) -> Path:
    """Write a lesion diffusion that draws something anywhere, as if it had learned lesions of these contrasts."""
    torch.manual_seed(0)
    network = LesionNetwork(TINY_DENOISER, halo=1)
    model = LesionDiffusion(network)
    nn.init.normal_(model.denoiser.head[-1].weight, std=0.3)  # new networks draw nothing: their last layer is zero
    learned = Learned(tuple(map(CONTRASTS.index, contrasts)), largest_mm2, ("a.nii.gz",))
    lesion_file.save(file, model, network, learned)
    return file
