"""Hidden patches do not exist for the encoder, whatever they show; visible ones count by what and where they are."""

from __future__ import annotations

import pytest
import torch

from conddiffusion_uad.method.condition.visible_patches import VisiblePatches, places
from conddiffusion_uad.model.slices import Slices

IMAGE = torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


@pytest.fixture(scope="module")
def encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    return VisiblePatches(features=6, side=8, width=16, depth=2, heads=2).build().eval()


def test_what_is_hidden_makes_no_difference(encoder: torch.nn.Module) -> None:
    where = torch.zeros_like(IMAGE, dtype=torch.bool)
    where[..., :8, 8:16] = True  # one patch
    other = IMAGE.clone()
    other[where] = 0.9
    usual, changed = encoder(Slices.of(IMAGE)), encoder(Slices.of(other))
    assert usual.shape == (2, 6) and not torch.allclose(usual, changed, atol=1e-3)
    hidden = [encoder(Slices.of(image).hiding(where)) for image in (IMAGE, other)]
    assert torch.equal(*hidden) and not torch.allclose(hidden[0], usual, atol=1e-3)


def test_a_patch_counts_by_its_place(encoder: torch.nn.Module) -> None:
    moved = IMAGE.clone()
    moved[..., :8], moved[..., 8:16] = IMAGE[..., 8:16], IMAGE[..., :8]
    assert not torch.allclose(encoder(Slices.of(IMAGE)), encoder(Slices.of(moved)), atol=1e-3)
    assert len(torch.unique(places(5, 7, 16), dim=0)) == 35


def test_slices_without_brain_have_features_too_and_odd_sizes_are_cut(encoder: torch.nn.Module) -> None:
    empty = encoder(Slices.of(torch.zeros(1, 1, 16, 24)))
    assert bool(torch.isfinite(empty).all())
    assert torch.allclose(empty, encoder(Slices.of(torch.zeros(1, 1, 20, 30))), atol=1e-6)
    assert encoder(Slices.of(IMAGE[..., :13, :21])).shape == (2, 6)


def test_gradients_reach_all_weights() -> None:
    network = VisiblePatches(features=6, side=8, width=16, depth=2, heads=2).build()
    network(Slices.of(IMAGE)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


@pytest.mark.parametrize("wrong", [{"width": 30}, {"width": 16, "heads": 3}, {"side": 0}, {"depth": 1.0}])
def test_what_it_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        VisiblePatches(**wrong)
