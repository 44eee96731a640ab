"""Networks and bundle configurations that compute in a moment, for tests."""

from __future__ import annotations

from typing import Any

import torch

from conddiffusion_uad.bundle.config import BundleConfig
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.anomaly_map.residual import Residual
from conddiffusion_uad.method.condition.encoder import Encoder
from conddiffusion_uad.method.method import Method
from conddiffusion_uad.method.noise.simplex import Simplex
from conddiffusion_uad.method.restore.one_step import OneStep
from conddiffusion_uad.model.cddpm import ConditionedDiffusion

DENOISER = {"base": 4, "multipliers": [1, 1], "blocks": 1, "head_channels": 4, "groups": 2}
GRID = Grid(size=(16, 16, 8), spacing=(8.0, 8.0, 8.0), origin=(-60.0, -60.0, -30.0))


def tiny_method(**parts: Any) -> Method:
    """The published method with a tiny encoder, and with other parts where they are given."""
    usual: dict[str, Any] = {
        "condition": Encoder(4, "basic", (1, 1, 1, 1), (4, 4, 4, 4)),
        "noise": Simplex(octaves=2, wavelength=8.0),
        "restore": OneStep((250, 500)),
        "anomaly_map": {"T2": Residual("hyperintense")},
    }
    return Method(**{**usual, **parts})


def tiny_config(**parts: Any) -> BundleConfig:
    """A configuration of the tiny method."""
    return BundleConfig(GRID, DENOISER, tiny_method(**parts))


def trained(model: ConditionedDiffusion) -> ConditionedDiffusion:
    """A model none of whose weights is zero, as after training."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()
