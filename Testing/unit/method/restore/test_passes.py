"""Every restorer asks the denoiser about a slice as often as it says, which is what the expected time comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from restoring import told
from tiny_model import tiny_method

from conddiffusion_uad.method.measures.severity import Severity
from conddiffusion_uad.method.restore import RESTORERS
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.slices import Slices

SETTINGS: dict[str, dict[str, Any]] = {
    "one_step": {"timesteps": (100, 200)},
    "one_pass": {"timesteps": (1, 2)},
    "patched": {"timesteps": (300, 500), "size": 8, "stride": 6},
    "masked_patches": {"timesteps": (300,), "size": 8, "stride": 8, "side": 4, "turns": 3},
    "repeated": {"timesteps": (300, 500), "draws": 3},
    "healthier": {"timesteps": (300, 500)},
    "multi_stage": {"timesteps": (200, 300), "rounds": 3, "smallest": 1, "threshold": 0.45, "change": 0.0},
    "counterfactual": {"timesteps": (200, 500), "steps": 30},
}


@pytest.mark.parametrize("kind", RESTORERS)
def test_passes_and_samples_are_what_is_said(kind: str) -> None:
    part = RESTORERS[kind](**SETTINGS[kind])
    generator = torch.Generator().manual_seed(0)
    model = told(lambda noisy: torch.randn(noisy.shape, generator=generator), tiny_method())  # never settles
    model.networks["severity"] = Severity(4).build()
    slices = Slices.of(torch.rand(1, 1, 16, 20, generator=generator) * 0.8 + 0.1)
    samples = part(model, slices, Seeds(0, np.arange(1)))
    assert samples.shape == (part.samples, 1, 1, 16, 20)
    assert sum(map(len, model.denoiser.timesteps)) == part.passes(16, 20)
