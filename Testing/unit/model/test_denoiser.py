import torch
from tiny_model import tiny_method
from torch import nn

from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.model.denoiser import Denoiser, ResidualBlock
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.training import recipe as recipes

SMALL = {"base": 16, "multipliers": (1, 2, 2), "blocks": 1, "head_channels": 16, "groups": 4}


def millions(module: nn.Module) -> float:
    return round(sum(p.numel() for p in module.parameters()) / 1e6, 2)


def test_paper_size_has_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        model = recipes.load("paper").bundle.build()
    assert millions(model.denoiser) == 44.07
    assert millions(model.encoder) == 24.55


def test_output_has_the_shape_of_the_slices_whatever_the_patch() -> None:
    noisy, level, condition = torch.randn(2, 1, 48, 32), torch.tensor([1, 1000]), torch.randn(2, 8)
    for patch in (1, 2):
        denoiser = Denoiser(8, **SMALL, patch=patch)
        assert denoiser.divisor == 4 * patch
        assert denoiser(noisy, level, condition).shape == noisy.shape


def test_level_and_condition_modulate_the_output() -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(8, **SMALL)
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.1)
    noisy, level, condition = torch.randn(1, 1, 32, 32), torch.tensor([200]), torch.randn(1, 8)
    output = denoiser(noisy, level, condition)
    assert not torch.allclose(output, denoiser(noisy, torch.tensor([700]), condition))
    assert not torch.allclose(output, denoiser(noisy, level, -condition))


def test_a_model_without_condition_sees_nothing_but_the_noisy_slice() -> None:
    model = tiny_method(condition=Unconditional()).build(SMALL)
    slices = Slices.of(torch.rand(2, 1, 32, 32))
    assert model.encoder(slices).shape == (2, 0) and model.features == 0
    estimate = model(slices, torch.tensor([100, 300]), model.noise([1, 2], slices.image))
    assert estimate.shape == slices.image.shape


def test_residual_block_starts_as_its_skip_and_film_scales_and_shifts() -> None:
    block = ResidualBlock(8, 8, 4, groups=4)
    x, embedding = torch.randn(1, 8, 6, 6), torch.randn(1, 4)
    assert torch.equal(block(x, embedding), x)
    h = torch.randn(1, 8, 6, 6)
    gamma, beta = block.modulation(nn.functional.silu(embedding)).chunk(2, dim=1)
    block.conv_in, block.norm_out, block.conv_out = (Constant(h), nn.Identity(), nn.Identity())
    block.activation = nn.SiLU()
    expected = nn.functional.silu(h * (1 + gamma[..., None, None]) + beta[..., None, None])
    assert torch.allclose(block(x, embedding) - x, expected, atol=1e-6)


class Constant(nn.Module):
    """Gives the same tensor whatever comes in."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.value


def test_condition_comes_from_the_clean_slice_and_not_from_the_noise() -> None:
    model = tiny_method().build(SMALL).eval()
    seen = []
    model.encoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    slices, timestep = Slices.of(torch.rand(2, 1, 32, 32)), torch.tensor([500, 500])
    model(slices, timestep, model.noise([1, 2], slices.image))
    assert torch.equal(seen[0].image, slices.image)


def test_the_denoiser_sees_its_context() -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(8, **SMALL, context=3)
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.1)
    noisy, timestep, condition = torch.randn(1, 1, 32, 32), torch.tensor([200]), torch.randn(1, 8)
    first, second = torch.randn(2, 1, 3, 32, 32)
    assert not torch.allclose(denoiser(noisy, timestep, condition, first), denoiser(noisy, timestep, condition, second))
