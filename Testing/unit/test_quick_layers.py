"""The quick layers of the training against the plain ones: the same function, the same gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.denoiser import ResidualBlock
from conddiffusion_uad.training.quick_layers import NormalizedActivation, QuickBlock, QuickHead, pays, quickened

CONFIG = {
    "condition": 8,
    "encoder": {"block": "basic", "layers": (1, 1, 1, 1), "block_inplanes": (4, 8, 8, 8)},
    "denoiser": {"base": 16, "multipliers": (1, 2, 2), "blocks": 1, "head_channels": 16, "groups": 4, "patch": 2},
    "noise": {"octaves": 2, "wavelength": 16.0},
}


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).detach().norm() / expected.detach().norm())


def trained() -> ConditionedDiffusion:
    """A model none of whose weights is zero, in the layout of the training."""
    torch.manual_seed(0)
    model = ConditionedDiffusion(CONFIG)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.to(memory_format=torch.channels_last).train()


def learned(model: ConditionedDiffusion, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, dict]:
    """The estimate, and the gradients of all parameters."""
    generator = torch.Generator().manual_seed(1)
    slices, noise = torch.rand(2, 3, 1, 48, 40, generator=generator)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        estimate = model(slices, torch.tensor([10, 200, 500]), noise)
    (estimate - slices).abs().mean().backward()
    return estimate, {name: parameter.grad for name, parameter in model.named_parameters()}


def test_a_step_is_that_of_the_plain_layers() -> None:
    plain = trained()
    quick = quickened(copy.deepcopy(plain))
    expected, gradients = learned(plain)
    found, quick_gradients = learned(quick)
    assert relative_error(found, expected) < 1e-5
    assert gradients.keys() == quick_gradients.keys()
    largest = max(gradient.norm() for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert (quick_gradients[name] - gradient).norm() < 1e-5 * (gradient.norm() + 1e-3 * largest), name


def test_in_bfloat16_a_step_is_no_further_from_the_exact_one_than_that_of_the_plain_layers() -> None:
    plain = trained()
    quick = quickened(copy.deepcopy(plain))
    exact, _ = learned(copy.deepcopy(plain))
    of_plain, of_quick = (relative_error(learned(model, torch.bfloat16)[0], exact) for model in (plain, quick))
    assert 0 < of_quick < 1.2 * of_plain


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gradients_are_those_of_torch_in_any_layout(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = (3 + torch.randn(2, 12, 5, 7)).to(memory_format=layout)
    given = [x, torch.randn(2, 12), torch.randn(2, 12)]
    plain, quick = ([values.clone().requires_grad_() for values in given] for _ in range(2))
    normal = nn.functional.group_norm(plain[0], 4, eps=1e-5)
    expected = nn.functional.silu(normal * plain[1][:, :, None, None] + plain[2][:, :, None, None])
    found = NormalizedActivation.apply(*quick, 4, 1e-5)
    gradient = torch.randn_like(expected)
    for result in (expected, found):
        result.backward(gradient)
    assert relative_error(found, expected) < 1e-5
    for one, other in zip(quick, plain, strict=True):
        assert relative_error(one.grad, other.grad) < 1e-5


def test_names_of_the_weights_stay_so_that_checkpoints_fit() -> None:
    plain = trained()
    quick = quickened(copy.deepcopy(plain))
    assert [*quick.state_dict()] == [*plain.state_dict()]
    quick.load_state_dict(plain.state_dict())
    blocks = [module for module in quick.denoiser.modules() if isinstance(module, ResidualBlock)]
    assert blocks and all(type(block) is QuickBlock for block in blocks)
    assert type(quick.denoiser.head) is QuickHead


def test_they_are_used_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert pays(torch.device("cpu"), "bf16")
    assert not pays(torch.device("cpu"), "fp32") and not pays(torch.device("cuda"), "bf16")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert not pays(torch.device("cpu"), "bf16")


def test_fewer_maps_are_kept_for_the_gradients() -> None:
    def kept(model: ConditionedDiffusion) -> int:
        """Bytes, each storage once."""
        found: dict[int, int] = {}

        def keep(values: torch.Tensor) -> torch.Tensor:
            found[values.untyped_storage().data_ptr()] = values.untyped_storage().nbytes()
            held.append(values)  # so that no address comes twice
            return values

        held: list[torch.Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values):
            model(torch.rand(4, 1, 96, 80), torch.full((4,), 100), torch.randn(4, 1, 96, 80))
        return sum(found.values())

    plain = trained()
    assert kept(quickened(copy.deepcopy(plain))) < 0.7 * kept(plain)
