"""The masked auto-encoder: nothing leaks from masked patches, and what is seen counts as without masks."""

from __future__ import annotations

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from conddiffusion_uad.model.encoder import RESNET_50, build_encoder
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.training.networks.masked_autoencoder import (
    MaskedAutoencoder,
    masked_error,
    patch_grid,
    random_patches,
)
from conddiffusion_uad.training.networks.sparse import ActiveSites, SparseEncoder

SMALL = {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [8, 16, 32, 64]}


@pytest.mark.parametrize("config", [SMALL, RESNET_50], ids=["small", "ResNet-50"])
@pytest.mark.parametrize("training", [True, False])
def test_features_do_not_depend_on_masked_patches(config: dict, training: bool) -> None:
    torch.manual_seed(0)
    encoder = SparseEncoder(build_encoder(config, 8)).train(training)
    slices, other = torch.rand(2, 2, 1, 96, 128)
    seen = random_patches(slices, 0.65, torch.Generator().manual_seed(1))
    sites = ActiveSites(seen)
    changed = torch.where(sites.at(slices.shape), slices, 100 * other)
    features, same = encoder(slices, sites), encoder(changed, sites)
    assert [f.shape[2:] for f in features] == [(96 // s, 128 // s) for s in (4, 8, 16, 32)]
    assert tuple(f.shape[1] for f in features) == encoder.channels
    for one, two in zip(features, same, strict=True):
        active = sites.at(one.shape).expand_as(one)
        assert torch.equal(one[active], two[active]) and one[active].abs().max() > 0
        assert not one[~active].any()


def test_statistics_are_those_of_the_seen_pixels() -> None:
    encoder = SparseEncoder(build_encoder(SMALL, 8)).train()
    slices = torch.rand(3, 1, 96, 96)
    seen = random_patches(slices, 0.5, torch.Generator().manual_seed(0))
    encoder(slices, ActiveSites(seen))
    convolved = encoder.encoder.conv1(slices * ActiveSites(seen).at(slices.shape))
    active = ActiveSites(seen).at(convolved.shape)[:, 0]
    expected = 0.1 * convolved.permute(0, 2, 3, 1)[active].mean(0)
    assert torch.allclose(encoder.encoder.bn1.running_mean, expected, atol=1e-6)


def test_with_all_patches_seen_the_encoder_is_the_dense_one() -> None:
    dense = build_encoder(SMALL, 8).train()
    slices = torch.rand(2, 1, 64, 64)
    pooled = dense(Slices.of(slices))
    head = dense.fc
    sparse = SparseEncoder(dense)
    last = sparse(slices, ActiveSites(torch.ones(2, 1, 2, 2, dtype=torch.bool)))[-1]
    assert torch.allclose(head(last.mean((2, 3))), pooled, atol=1e-5)


@pytest.mark.parametrize(("size", "grid"), [((96, 96), (3, 3)), ((80, 96), (3, 3)), ((80, 104), (3, 4))])
def test_slices_of_any_size_are_guessed_and_judged_in_masked_patches_only(
    size: tuple[int, int], grid: tuple[int, int]
) -> None:
    assert patch_grid(*size) == grid
    torch.manual_seed(0)
    model = MaskedAutoencoder(build_encoder(SMALL, 8), 32)
    slices = torch.rand(2, 1, *size)
    seen = random_patches(slices, 0.65, torch.Generator().manual_seed(0))
    assert seen.shape == (2, 1, *grid)
    assert (seen.flatten(1).sum(1) == round(0.35 * grid[0] * grid[1])).all()
    guess = model(slices, seen)
    assert guess.shape == slices.shape
    error = masked_error(slices + 0.5, slices, seen)
    assert error.item() == pytest.approx(0.25)
    corner = slices.clone()
    corner[0, 0, 0, 0] += 1
    assert (masked_error(corner, slices, seen) > 0) == (not seen[0, 0, 0, 0])


def test_a_running_mean_of_the_network_looks_at_its_own_sites() -> None:
    torch.manual_seed(0)
    model = MaskedAutoencoder(build_encoder(SMALL, 8), 32).eval()
    average = AveragedModel(model).module
    slices = torch.rand(2, 1, 64, 64)
    one, other = (random_patches(slices, 0.5, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    expected = model(slices, one)
    model(slices, other)
    assert torch.equal(average(slices, one), expected)
