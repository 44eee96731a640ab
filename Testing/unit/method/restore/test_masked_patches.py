"""Every patch is hidden in all passes but one, and explained by what is visible."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from restoring import told

from conddiffusion_uad.method.restore.masked_patches import MaskedPatches, deal
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.slices import Slices

SEEDS = Seeds(0, np.arange(2))
IMAGE = torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


def test_patches_are_dealt_evenly_and_whole() -> None:
    dealt = deal(torch.Size((16, 24)), 4, 4, torch.Generator().manual_seed(0))
    counts = [(dealt == turn).sum().item() for turn in range(4)]
    assert dealt.shape == (1, 16, 24) and counts == [96] * 4
    patches = dealt[0].view(4, 4, 6, 4).permute(0, 2, 1, 3).reshape(24, 16)
    assert (patches == patches[:, :1]).all()
    assert deal(torch.Size((10, 9)), 4, 3, torch.Generator()).shape == (1, 10, 9)


def test_every_pixel_is_hidden_in_all_passes_of_its_window_but_one() -> None:
    part = MaskedPatches(size=8, stride=8, side=4, turns=4)
    hidden = list(part.hidden(IMAGE, 500, SEEDS))
    assert len(hidden) == 6 * 4
    times = torch.stack(hidden).sum(dim=0)
    assert (times == 3).all()
    assert any(not torch.equal(*of_pass) for of_pass in hidden)  # each slice has patches of its own


def test_visible_patches_stay_clean_and_a_constant_comes_back() -> None:
    model = told(lambda noisy: torch.full_like(noisy, -0.5))
    part = MaskedPatches((400,), size=8, stride=6, side=4)
    found = part(model, Slices.of(IMAGE), SEEDS)
    assert found.shape == (1, 2, 1, 16, 24) and torch.allclose(found, torch.tensor(0.25))
    for noisy, hidden in zip(model.denoiser.seen, part.hidden(IMAGE, 400, SEEDS), strict=True):
        assert torch.equal(noisy[~hidden], (2 * IMAGE - 1)[~hidden])
        assert (noisy != 2 * IMAGE - 1)[hidden].float().mean() > 0.99


def test_the_condition_does_not_see_what_is_hidden() -> None:
    seen: list[Slices] = []
    model = told(lambda noisy: noisy)
    model.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    part = MaskedPatches((400,), size=8, stride=8, side=4)
    part(model, Slices.of(IMAGE), SEEDS)
    for given, hidden in zip(seen, part.hidden(IMAGE, 400, SEEDS), strict=True):
        assert not given.image[hidden].any() and not given.brain[hidden].any()
        assert torch.equal(given.image[~hidden], IMAGE[~hidden])


@pytest.mark.parametrize("wrong", [{"side": 0}, {"side": 64}, {"turns": 1}, {"stride": 64}, {"timesteps": (0,)}])
def test_what_it_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MaskedPatches(**wrong)
