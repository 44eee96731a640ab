"""A brain of two slices that differ from their reconstructions."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.anomaly_map.learned import Learned
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.restored import Restored


@pytest.fixture
def scene():
    """A scan at 1 mm with reconstructions at 2 mm, darker by half in two slices, and a network sure of itself."""
    fine = Grid((64, 64, 4), (1.0, 1.0, 2.0), (-31.5, -15.5, 0.0))
    coarse = Grid((32, 32, 4), (2.0, 2.0, 2.0), (-31.0, -15.0, 0.0))
    mask = np.ones((4, 64, 64), bool)
    mask[0] = False
    volume = np.where(mask, 0.8, 0).astype(np.float32)
    samples = np.stack([volume[:, ::2, ::2]] * 2)
    samples[:, 2:] -= 0.5
    origin = Restored(Volume(volume[:, ::2, ::2], mask[:, ::2, ::2], coarse), "T2", samples, 4)
    torch.manual_seed(0)
    weights = Learned().build().eval()
    with torch.no_grad():
        weights.network.head[-1].weight *= 30
        weights.network.head[-1].bias.fill_(3.0)
    restored = Restored(Volume(volume, mask, fine), "T2", volume[None], 4, origin)
    return restored, SimpleNamespace(networks={"learned_map": weights})
