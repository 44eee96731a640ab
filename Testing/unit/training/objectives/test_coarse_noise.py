"""A denoising autoencoder: noise inside the brain alone, and errors count there alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import GRID, tiny_config
from torch import nn

from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.method.noise.coarse import Coarse
from conddiffusion_uad.training.data.slabs import Slabs, View
from conddiffusion_uad.training.objectives.coarse_noise import CoarseNoise


def slabs(count: int = 8, side: int = 16) -> Slabs:
    volume = 0.5 + 0.2 * torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))
    volume[:, :, :4] = 0
    place = torch.zeros(count, dtype=torch.long)
    return Slabs(volume, volume > 0, place, place, place, View(GRID))


def example(strength: float = 1.0) -> Any:
    return CoarseNoise(strength=strength).corrupt(slabs(), Coarse(4, 0.2), torch.Generator().manual_seed(1))


def test_noise_lies_inside_the_brain_and_is_as_strong_as_said() -> None:
    weak, strong = (example(strength) for strength in (1.0, 2.0))
    added = weak.seen.image - weak.healthy
    assert not added[~weak.seen.brain].any() and added[weak.seen.brain].std() > 0.05
    assert torch.allclose(strong.seen.image - strong.healthy, 2 * added, atol=1e-6)
    assert len({float(field.sum()) for field in added}) == len(added)


def test_the_loss_is_the_squared_error_inside_the_brain() -> None:
    made = example()

    class Off(nn.Module):
        """Is wrong by 0.1 in the brain, and by 5 outside; is to be asked without noise."""

        def forward(self, slices: Any, timestep: Any, noise: torch.Tensor, *, where: torch.Tensor) -> torch.Tensor:
            assert not noise.any() and not where.any() and timestep.tolist() == [1] * len(slices)
            return made.healthy + torch.where(slices.brain, 0.1, 5.0)

    assert CoarseNoise().loss(Off(), made).item() == pytest.approx(0.01, rel=1e-4)


def test_a_network_learns_to_take_the_noise_out() -> None:
    torch.manual_seed(0)
    model = tiny_config(condition=Unconditional(), noise=Coarse(4, 0.2)).build()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for step in range(60):
        made = CoarseNoise().corrupt(slabs(), model.noise, torch.Generator().manual_seed(step))
        loss = CoarseNoise().loss(model, made)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    left = (made.seen.image - made.healthy)[made.seen.brain].square().mean().item()
    assert np.mean(losses[-10:]) < 0.7 * left  # less than what giving back the input would cost
