"""The residual network and the attention are those of MONAI, weight for weight."""

from __future__ import annotations

import pytest
import torch
from monai.networks.blocks import SpatialAttentionBlock
from monai.networks.nets import ResNet
from torch import nn

from conddiffusion_uad.model.denoiser import SpatialAttention
from conddiffusion_uad.model.residual_network import NORMS, ResidualNetwork, fewest_values


@pytest.mark.parametrize(
    ("block", "layers"), [("basic", (1, 2, 1, 1)), ("bottleneck", (2, 1, 1, 2))], ids=["basic", "bottleneck"]
)
def test_a_seed_makes_the_network_of_monai(block: str, layers: tuple[int, ...]) -> None:
    widths = (8, 16, 24, 32)
    torch.manual_seed(3)
    theirs = ResNet(
        block, list(layers), list(widths), 2, 1, conv1_t_stride=2, bias_downsample=False, num_classes=5
    ).eval()
    torch.manual_seed(3)
    ours = ResidualNetwork(block, layers, widths, 5).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    image = torch.rand(2, 1, 64, 48)
    assert torch.equal(ours.features(image), theirs(image))
    ours.fc = theirs.fc = None
    assert torch.equal(ours.features(image), theirs(image))


def test_an_unknown_block_is_refused() -> None:
    with pytest.raises(ValueError, match="basic, bottleneck"):
        ResidualNetwork("wide", (1, 1, 1, 1), (8, 8, 8, 8), 4)


@pytest.mark.parametrize("side", [24, 32, 33, 64])
@pytest.mark.parametrize("norm", ["batch", "instance", "group", "layer"])
def test_where_a_normalization_has_a_single_value_the_network_cannot_be_trained(norm: str, side: int) -> None:
    widths = (8, 16, 16, 8)  # the last stage has one channel in each of the 8 groups
    network = ResidualNetwork("basic", (1, 1, 1, 1), widths, 4, norm).train()
    assert set(NORMS) == {"batch", "instance", "group", "layer"}
    image = torch.rand(1, 1, side, side)
    if fewest_values(norm, widths, side, side) == 1:
        with pytest.raises(ValueError, match="more than 1"):
            network.features(image)
    else:
        network.features(image)
    assert (fewest_values(norm, widths, side, side) == 1) == (norm != "layer" and side <= 32)


def test_attention_is_that_of_monai() -> None:
    torch.manual_seed(0)
    theirs, ours = SpatialAttentionBlock(2, 32, 16, norm_num_groups=4), SpatialAttention(32, 16, 4)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    assert not any(parameter.any() for parameter in ours.attn.out_proj.parameters())
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.2)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 32, 6, 5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
