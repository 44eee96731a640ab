"""Masked pre-training: nothing leaks from masked patches, the loss falls, and the weights arrive in the encoder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import DENOISER, tiny_method

from conddiffusion_uad.method.condition.encoder import Encoder
from conddiffusion_uad.model.encoder import RESNET_50, build_encoder
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training.data.batches import Mixture
from conddiffusion_uad.training.distributed import Processes
from conddiffusion_uad.training.loop import Plan
from conddiffusion_uad.training.objectives.masked_autoencoder import (
    MaskedAutoencoder,
    masked_error,
    patch_grid,
    random_patches,
)
from conddiffusion_uad.training.objectives.pretraining import Pretraining, load_encoder, save_encoder
from conddiffusion_uad.training.objectives.sparse import ActiveSites, SparseEncoder
from conddiffusion_uad.training.recipe import PretrainSettings

SMALL = {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [8, 16, 32, 64]}
SETTINGS = PretrainSettings(samples=640, batch=8, precision="fp32", learning_rate=1e-2, width=32)


class Levels:
    """Batches of slices that are all of one gray: what is masked can be guessed from what is seen."""

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(count, 1, 1, 1, generator=generator).repeat(1, 1, 64, 64)


def pretraining() -> Pretraining:
    torch.manual_seed(0)
    plan = Plan(Mixture(Levels(), SETTINGS.batch), SETTINGS.steps(SETTINGS.batch, 1), 0, "", Processes())
    return Pretraining(MaskedAutoencoder(build_encoder(SMALL, 4), SETTINGS.width), SETTINGS, plan)


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


def test_masked_patches_are_guessed_from_the_others() -> None:
    training = pretraining()
    losses = [training.advance() for _ in range(training.steps)]
    gray = 1 / 12  # the mean squared error of guessing 1/2 everywhere
    assert np.mean(losses[-10:]) < 0.6 * gray < gray < np.mean(losses[:5])


def test_resumed_pretraining_is_the_uninterrupted_one(tmp_path: Path) -> None:
    whole, first, second = pretraining(), pretraining(), pretraining()
    for _ in range(4):
        whole.advance()
    for _ in range(2):
        first.advance()
    first.store(tmp_path / "checkpoint.pt")
    second.restore(tmp_path / "checkpoint.pt")
    assert [second.advance() for _ in range(2)] and second.step == whole.step
    resumed, straight = second.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)


def test_weights_arrive_in_the_encoder_without_its_head(tmp_path: Path) -> None:
    training, file = pretraining(), tmp_path / "encoder.safetensors"
    training.advance()
    save_encoder(file, training.model.encoder.encoder, SMALL)
    model = tiny_method(condition=Encoder(16, "basic", (1, 1, 1, 1), (8, 16, 32, 64))).build(DENOISER)
    head = {name: value.clone() for name, value in model.encoder.fc.state_dict().items()}
    load_encoder(file, model.encoder, SMALL)
    arrived, given = model.encoder.state_dict(), training.model.encoder.encoder.state_dict()
    assert set(arrived) == {*given, "fc.weight", "fc.bias"}
    assert all(torch.equal(arrived[name], given[name]) for name in given)
    assert all(torch.equal(model.encoder.fc.state_dict()[name], head[name]) for name in head)


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    save_encoder(tmp_path / "encoder.safetensors", build_encoder(SMALL, 4), SMALL)
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04N.")
    wider = {**SMALL, "block_inplanes": [16, 32, 64, 128]}
    for name in ("encoder.safetensors", "pickle.pt", "missing.safetensors"):
        with pytest.raises(BadInput) as caught:
            load_encoder(tmp_path / name, build_encoder(wider, 4), wider)
        assert caught.value.code == "bad_encoder"
