"""One pass over the clean slice: nothing is added to it."""

from __future__ import annotations

import numpy as np
import torch
from restoring import told

from conddiffusion_uad.method.restore.one_pass import OnePass
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.slices import Slices

SLICES = Slices.of(torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


def test_the_network_sees_the_slice_itself_whatever_the_seed() -> None:
    model = told(lambda noisy: noisy / 2)
    found = OnePass((1, 300))(model, SLICES, Seeds(7, np.arange(3)))
    assert found.shape == (2, 3, 1, 8, 8) and model.denoiser.timesteps == [[1] * 3, [300] * 3]
    for seen in model.denoiser.seen:
        assert torch.equal(seen, 2 * SLICES.image - 1)
    assert torch.allclose(found[0], (SLICES.image - 0.5) / 2 + 0.5)
