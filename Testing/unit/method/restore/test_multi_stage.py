"""Stages replace what differs, keep the rest, and end when nothing changes any more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from restoring import told

from conddiffusion_uad.method.restore.multi_stage import MultiStage
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.slices import Slices

SEEDS = Seeds(0, np.arange(1))


def lesion(side: int) -> Slices:
    """A gray slice with a bright square."""
    image = torch.full((1, 1, 32, 32), 0.5)
    image[..., 10 : 10 + side, 12 : 12 + side] = 0.9
    return Slices.of(image)


def test_what_differs_is_replaced_and_the_rest_is_put_back() -> None:
    model = told(lambda noisy: torch.zeros_like(noisy))  # all gray: 0.5
    part = MultiStage((200,), threshold=0.2, sigma=0.5, smallest=10)
    slices = lesion(8)
    found = part.different(slices, torch.full_like(slices.image, 0.5))
    expected = slices.image > 0.7
    assert (found ^ expected).sum() <= 4  # the corners, which the Gaussian rounds
    part(model, slices, SEEDS)
    noise = model.noise(SEEDS.of(200 + 1001), slices.image)
    second = torch.where(found, torch.tensor(0.5), slices.image)
    expected = model.schedule.add_noise(2 * second - 1, noise, torch.tensor([200]))
    assert torch.allclose(model.denoiser.seen[1], expected, atol=1e-6)
    assert len(model.denoiser.seen) == 2  # nothing changed after the first


def test_small_spots_stay() -> None:
    part = MultiStage((200,), threshold=0.2, sigma=0.5, smallest=10)
    small, large = (part.different(lesion(side), torch.full((1, 1, 32, 32), 0.5)) for side in (3, 4))
    assert not small.any() and large.sum() >= 10


def test_it_ends_after_some_rounds_even_if_it_never_settles() -> None:
    flips = iter([0.0, 0.8] * 3)
    model = told(lambda noisy: torch.full_like(noisy, next(flips)))  # 0.5, then 0.9: all differs, then nothing
    MultiStage((200,), threshold=0.2, rounds=4, smallest=1)(model, Slices.of(torch.full((1, 1, 32, 32), 0.9)), SEEDS)
    assert len(model.denoiser.seen) == 4


def test_a_slice_gets_the_same_whatever_is_restored_beside_it() -> None:
    def answer(noisy: torch.Tensor) -> torch.Tensor:
        return noisy * torch.tensor([0.3, 0.9]).repeat(16)  # some columns settle later than others

    part, both = MultiStage((200,), threshold=0.05, smallest=1), Slices.cat([lesion(8), lesion(12)])
    together = part(told(answer), both, Seeds(0, np.array([3, 9])))[0]
    for index, position in enumerate((3, 9)):
        alone = part(told(answer), both[index : index + 1], Seeds(0, np.array([position])))[0]
        assert torch.allclose(alone[0], together[index], atol=1e-6)


def test_outside_the_brain_nothing_is_different() -> None:
    slices = lesion(8)
    outside = Slices(**{**vars(slices), "brain": torch.zeros_like(slices.brain)})
    assert not MultiStage(smallest=1).different(outside, torch.zeros_like(slices.image)).any()


@pytest.mark.parametrize("wrong", [{"threshold": 0}, {"rounds": 0}, {"smallest": 1.5}, {"change": 2}, {"sigma": 0}])
def test_what_it_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MultiStage(**wrong)
