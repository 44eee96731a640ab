from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_model import tiny_method, trained
from torch import nn
from torch.nn import functional

from conddiffusion_uad.method.condition import Condition
from conddiffusion_uad.method.condition.encoder import Encoder
from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.method.context import Context
from conddiffusion_uad.method.context.mirror import Mirror
from conddiffusion_uad.method.context.neighbours import Neighbours
from conddiffusion_uad.model import precision
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.denoiser import ResidualBlock
from conddiffusion_uad.model.fast import fused
from conddiffusion_uad.model.fast.inference import PART, FastDenoiser, accelerated
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.failures import BadInput

DENOISER = {"base": 16, "multipliers": (1, 2, 2), "blocks": 1, "head_channels": 16, "groups": 4, "patch": 2}
ENCODER = Encoder(8, "basic", (1, 1, 1, 1), (4, 8, 8, 8))


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def model_of(patch: int = 2, **parts: Any) -> ConditionedDiffusion:
    """A trained model of some size."""
    return trained(tiny_method(**{"condition": ENCODER, **parts}).build({**DENOISER, "patch": patch}))


def inputs(
    count: int = 5, height: int = 80, width: int = 72, context: int = 0
) -> tuple[Slices, torch.Tensor, torch.Tensor]:
    image = torch.rand(count, 1, height, width)
    slices = replace(Slices.of(image), context=torch.rand(count, context, height, width))
    return slices, torch.arange(count) * 100 + 1, torch.randn_like(image)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("condition", [Unconditional(), ENCODER])
@pytest.mark.parametrize("context", [(), (Neighbours(), Mirror())])
def test_the_fast_form_is_the_same_function(patch: int, condition: Condition, context: tuple[Context, ...]) -> None:
    model = model_of(patch, condition=condition, context=context)
    channels = sum(part.channels for part in context)
    arguments = inputs(height=80 // (3 - patch), width=72 // (3 - patch) // 4 * 4, context=channels)
    fast = accelerated(model, torch.float32)
    assert fast.divisor == model.divisor
    assert relative_error(fast(*arguments), model(*arguments)) < 1e-5


def test_bfloat16_stays_within_a_hundredth() -> None:
    model, arguments = model_of(), inputs()
    estimate = accelerated(model, torch.bfloat16)(*arguments)
    assert estimate.dtype == torch.float32
    assert 0 < relative_error(estimate, model(*arguments)) < 0.01


def test_the_result_is_the_same_bit_for_bit_each_time_and_for_each_loading() -> None:
    model, arguments = model_of(), inputs()
    first, second = (accelerated(model, torch.bfloat16) for _ in range(2))
    assert torch.equal(first(*arguments), first(*arguments))
    assert torch.equal(first(*arguments), second(*arguments))


def test_a_model_that_is_on_a_device_stays_there() -> None:
    fast = accelerated(model_of().to("meta"), torch.bfloat16)  # torch's "meta" stands in for a card
    assert {parameter.device.type for parameter in fast.parameters()} == {"meta"}
    noisy, condition = torch.zeros(2, 1, 64, 64, device="meta"), torch.zeros(2, 8, device="meta")
    assert fast.denoiser(noisy, torch.zeros(2, device="meta"), condition).shape == noisy.shape


def test_the_given_model_is_left_as_it_is() -> None:
    model = model_of().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fast = accelerated(model, torch.bfloat16)
    fast(*inputs())
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_is_accelerated_cannot_be_accelerated_again() -> None:
    fast = accelerated(model_of(), torch.bfloat16)  # its weights are no longer those that it was trained with
    with pytest.raises(TypeError, match="plain form"):
        accelerated(fast, torch.float32)


@pytest.mark.parametrize("pixels", [fused.FEW_PIXELS // 32 - 1, fused.FEW_PIXELS // 32])
def test_normalization_is_torchs_for_small_and_large_maps(pixels: int) -> None:
    x = (3 + torch.randn(2, 24, 32, pixels)).contiguous(memory_format=torch.channels_last)
    scale, shift = torch.randn(2, 24), torch.randn(2, 24)
    expected = functional.group_norm(x, 4, eps=1e-5) * scale[:, :, None, None] + shift[:, :, None, None]
    for normalized_activation in (fused.normalized_activation, fused._at_once):  # of CPUs, of graphics cards
        found = normalized_activation(x, 4, scale, shift, 1e-5)
        assert torch.allclose(found, functional.silu(expected), atol=1e-5)


def test_a_convolution_of_doubled_pixels_needs_no_doubled_pixels() -> None:
    convolution, x = nn.Conv2d(6, 5, 3, padding=1), torch.randn(2, 6, 4, 7)
    expected = convolution(functional.interpolate(x, scale_factor=2, mode="nearest"))
    assert torch.allclose(fused.DoubledConvolution(convolution)(x), expected, atol=1e-5)


def test_folding_the_modulation_keeps_scale_and_shift() -> None:
    block = ResidualBlock(8, 8, 4, groups=4)
    nn.init.normal_(block.norm_out.weight)
    nn.init.normal_(block.norm_out.bias)
    embedding = torch.randn(3, 4)
    gamma, beta = block.modulation(embedding).chunk(2, dim=1)
    matrix, constant = fused.folded_modulation(block)
    scale, shift = functional.linear(embedding, matrix, constant).chunk(2, dim=1)
    assert torch.allclose(scale, block.norm_out.weight * (1 + gamma), atol=1e-6)
    assert torch.allclose(shift, block.norm_out.bias * (1 + gamma) + beta, atol=1e-6)


def test_no_more_slices_at_once_than_the_cache_holds() -> None:
    denoiser = accelerated(model_of(), torch.float32).denoiser
    assert isinstance(denoiser, FastDenoiser)
    small, large = torch.zeros(16, 1, 64, 64), torch.zeros(16, 1, 1024, 1024)
    assert denoiser.together(large) == 1 < denoiser.together(small) == PART


def test_the_result_hardly_depends_on_the_number_of_threads() -> None:
    model, arguments, usual = accelerated(model_of(), torch.float32), inputs(9), torch.get_num_threads()
    estimates = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        estimates.append(model(*arguments))
    torch.set_num_threads(usual)
    assert relative_error(*estimates) < 1e-6


def test_precision_is_chosen_by_the_processor_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for capabilities, expected in (({"avx512_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found, raising=False)
        assert precision.choose("auto", cpu) == expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert precision.choose("auto", cpu) == torch.float32
    assert precision.choose("bf16", cpu) == torch.bfloat16
    assert precision.name_of(torch.bfloat16) == "bf16"
    with pytest.raises(BadInput, match="fp64"):
        precision.choose("fp64", cpu)
