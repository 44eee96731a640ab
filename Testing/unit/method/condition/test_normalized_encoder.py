"""The encoder has the normalization that its configuration says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from conddiffusion_uad.method.condition.encoder import Encoder
from conddiffusion_uad.method.condition.normalized_encoder import NormalizedEncoder
from conddiffusion_uad.model.residual_network import GROUPS
from conddiffusion_uad.model.slices import Slices

SIZES = ("basic", (1, 1, 1, 1), (8, 8, 16, 16))
IMAGES = torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def normalizations(norm: str) -> list[nn.Module]:
    layers = NormalizedEncoder(4, *SIZES, norm).build().modules()
    return [layer for layer in layers if isinstance(layer, (nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d))]


@pytest.mark.parametrize(
    ("norm", "kind", "groups"),
    [("batch", nn.BatchNorm2d, None), ("group", nn.GroupNorm, GROUPS), ("layer", nn.GroupNorm, 1)],
)
def test_all_layers_have_the_normalization(norm: str, kind: type[nn.Module], groups: int | None) -> None:
    layers = normalizations(norm)
    assert len(layers) > 8 and all(isinstance(layer, kind) for layer in layers)
    assert all(getattr(layer, "num_groups", None) == groups for layer in layers)
    assert all(isinstance(layer, nn.InstanceNorm2d) and layer.affine for layer in normalizations("instance"))


@pytest.mark.parametrize("norm", ["group", "layer", "instance"])
def test_features_of_a_slice_do_not_depend_on_the_batch_that_it_is_trained_in(norm: str) -> None:
    torch.manual_seed(0)
    encoder = NormalizedEncoder(4, *SIZES, norm).build().train()
    together, alone = encoder(Slices.of(IMAGES)), encoder(Slices.of(IMAGES[:1]))
    assert torch.allclose(together[:1], alone, atol=1e-5)
    assert torch.equal(encoder.eval()(Slices.of(IMAGES[:1])), alone)  # nothing was learned of the batch


def test_with_batch_normalization_they_do() -> None:
    torch.manual_seed(0)
    encoder = Encoder(4, *SIZES).build().train()
    assert not torch.allclose(encoder(Slices.of(IMAGES))[:1], encoder(Slices.of(IMAGES[:2]))[:1], atol=1e-3)


def test_channels_that_make_no_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        NormalizedEncoder(4, "basic", (1, 1, 1, 1), (4, 8, 16, 16), "group")
    with pytest.raises(ValueError, match="norm is one of"):
        NormalizedEncoder(4, *SIZES, "spectral")
