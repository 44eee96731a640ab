"""How much work a reconstruction is: counted, so that a change that makes it slower fails on any computer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from launches import Launches

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.evaluation.benchmark.speed import counted_flop
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.fast.inference import FastDenoiser, accelerated
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.training import recipe as recipes

SLICES = 4


@pytest.fixture(autouse=True)
def alone_and_without_gradients() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what other threads do would not be seen
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def shipped() -> ConditionedDiffusion:
    """The shipped network."""
    return bundles.load("residual").model


def arguments(model: ConditionedDiffusion, height: int, width: int) -> tuple[Any, ...]:
    slices = Slices.of(torch.rand(SLICES, 1, height, width))
    return slices, torch.full((SLICES,), 200), torch.randn_like(slices.image), model.encoder(slices)


def test_flop_of_the_shipped_network(shipped: ConditionedDiffusion) -> None:
    given = arguments(shipped, 96, 80)
    plain = counted_flop(lambda: shipped(*given)) / SLICES / 1e9
    fast = counted_flop(lambda: accelerated(shipped, torch.bfloat16)(*given)) / SLICES / 1e9
    assert plain == pytest.approx(3.44, abs=0.01)
    assert fast == pytest.approx(3.24, abs=0.01)


def test_flop_of_the_published_network() -> None:
    with torch.device("meta"):
        model = recipes.load("paper").bundle.build().eval()
        condition = torch.zeros(SLICES, model.features)
        level, noisy = torch.zeros(SLICES, dtype=torch.long), torch.zeros(SLICES, 1, 96, 96)
    flop = counted_flop(lambda: model.denoiser(noisy, level, condition)) / SLICES / 1e9
    assert flop == pytest.approx(149.1, abs=0.1)


def test_launches_for_a_batch(shipped: ConditionedDiffusion) -> None:
    fast = accelerated(shipped, torch.bfloat16)
    given = arguments(shipped, 96, 80)
    fast(*given)
    with Launches() as seen:
        fast(*given)
    count = seen.count
    norms = 2 * 21 + 2  # of the blocks, the attention and the head
    assert count["convolution"] == 54
    assert count["native_group_norm"] + count["native_batch_norm"] == SLICES * (norms - 1) + 1
    assert count["silu"] == SLICES * (norms - 1) + 3  # of the embeddings
    assert count["addmm"] == 4 + 1 + 4  # of the embeddings, of all modulations at once, of the attention
    assert count["upsample_nearest2d"] == 2  # of the skip branches
    assert count["cat"] <= 12
    assert sum(count.values()) < 1800


def test_samples_that_do_not_fit_the_cache_together_are_launched_in_parts(shipped: ConditionedDiffusion) -> None:
    denoiser = accelerated(shipped, torch.float32).denoiser
    assert isinstance(denoiser, FastDenoiser)
    together = denoiser.together(torch.zeros(1, 1, 96, 80))
    noisy, condition = torch.zeros(together + 1, 1, 96, 80), torch.zeros(together + 1, 128)
    with Launches() as seen:
        denoiser(noisy, torch.full((together + 1,), 200), condition)
    assert seen.count["convolution"] == 2 * 54


def test_weights_on_disk_take_two_bytes_each(shipped: ConditionedDiffusion) -> None:
    stored = (bundles.locate("residual") / bundles.WEIGHTS).stat().st_size
    values = sum(value.numel() for value in shipped.state_dict().values())
    assert stored < 2.02 * values + 32_768
