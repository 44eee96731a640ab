"""The networks of the package in their own form: the same brain, with fewer operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from conddiffusion_uad.preprocessing.brain_network import BrainNetwork

SIDE = 64


class Counted(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = Counter[str]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def package() -> torch.jit.ScriptModule:
    found = find_spec("deepbet")
    assert found and found.origin
    return torch.jit.load(Path(found.origin).parents[1] / "data" / "models" / "model.pt", "cpu").eval()


def counted(work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Counter[str]]:
    with torch.inference_mode(), Counted() as count:
        return work(), count.calls


def blob() -> torch.Tensor:
    z, y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 3, indexing="ij")
    return torch.exp(-4 * (z**2 + (1.2 * y) ** 2 + (1.1 * x - 0.1) ** 2)) + 0.02 * torch.randn(z.shape)


def test_it_is_the_function_of_the_package_with_less_work(package: torch.jit.ScriptModule) -> None:
    seen = blob()
    expected, theirs = counted(lambda: package(seen.permute(2, 1, 0)[None, None])[0, 1] > 0.5)
    found, ours = counted(lambda: BrainNetwork(dict(package.named_parameters()))(seen))
    assert 0.01 < expected.float().mean() < 0.99
    assert (found != expected.permute(2, 1, 0)).float().mean() < 1e-4
    one_library = torch.backends.mkldnn.is_available()  # for small maps and large ones, where the processor has it
    assert ours["mkldnn_convolution" if one_library else "conv3d"] == 30
    assert ours["conv_transpose3d"] == 4  # the last one is a product
    assert not {"instance_norm", "batch_norm", "max_pool3d", "softmax"} & ours.keys()
    assert theirs["instance_norm"] == 34


def test_without_onednn_as_on_a_mac_it_is_the_same_function(
    package: torch.jit.ScriptModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, network = blob(), BrainNetwork(dict(package.named_parameters()))
    usual = network(seen)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with torch.backends.mkldnn.flags(enabled=False):  # what torch calls instead lays its maps out in another way
        found, ours = counted(lambda: network(seen))
    assert ours["conv3d"] == 30 and not ours["mkldnn_convolution"]
    assert (found != usual).float().mean() < 1e-4
