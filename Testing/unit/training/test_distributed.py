"""What several processes share: batches, the statistics of whole batches, and the decision to stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import distributed, nn

from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.distributed import Processes, WholeBatchNorm2d

CPU = torch.device("cpu")


@pytest.fixture
def group() -> Iterator[None]:
    """A group of one process."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    Processes(1, 2).check(8)
    with pytest.raises(BadInput, match="2 processes cannot share a batch of 7"):
        Processes(1, 2).check(7)


def test_every_item_of_a_batch_is_learned_from_once() -> None:
    items = torch.arange(6)
    assert sorted(torch.cat([Processes(rank, 3).shard(items) for rank in range(3)]).tolist()) == items.tolist()


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_whole_batches_are_normalized_as_torch_does(mean: float) -> None:
    """Also a small variance beside a large mean, which E[x^2] - E[x]^2 would lose in single precision."""
    torch.manual_seed(0)
    x = (mean + 0.05 * torch.randn(8, 3, 6, 5)).requires_grad_()
    ours, torchs = nn.BatchNorm2d(3, eps=1e-8), nn.BatchNorm2d(3, eps=1e-8)
    ours.__class__ = WholeBatchNorm2d
    outputs, gradients = [], []
    for module in (ours, torchs):
        found = module(x)
        (gradient,) = torch.autograd.grad((found * torch.arange(5)).square().sum(), x)
        outputs.append(found)
        gradients.append(gradient)
    assert outputs[0].detach().std() == pytest.approx(1, abs=0.02)
    assert torch.allclose(*outputs, atol=2e-3)
    assert torch.allclose(*gradients, rtol=2e-3, atol=2e-3 * gradients[1].abs().max().item())
    assert torch.allclose(ours.running_var, torchs.running_var, rtol=1e-3)
    assert torch.allclose(ours.eval()(x), torchs.eval()(x), atol=2e-3)


def test_all_stop_when_one_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_another(interrupted: bool) -> bool:
        monkeypatch.setattr(distributed, "all_reduce", lambda flags: flags.add_(float(interrupted)))
        return Processes(0, 2).any(False, CPU)

    assert with_another(True) and not with_another(False)
    assert Processes().any(True, CPU) and not Processes().any(False, CPU)
