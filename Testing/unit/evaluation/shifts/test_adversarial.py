"""Attacks stay in their ball, go the way they aim at, random changes are as large; and what a scan's record has."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from restoring import Told, told
from tiny_model import GRID, tiny_method, trained

from conddiffusion_uad.evaluation.shifts import adversarial
from conddiffusion_uad.evaluation.shifts.adversarial import (
    AIMS,
    FALSE_ALARM,
    MISSED_LESION,
    MOST_SLICES,
    SIZES,
    attacked,
    random_like,
    residual,
    within,
    worst_cases,
)
from conddiffusion_uad.method.brain import Volume, slices_of
from conddiffusion_uad.method.restore.multi_stage import MultiStage
from conddiffusion_uad.method.restore.one_pass import OnePass
from conddiffusion_uad.method.restore.one_step import OneStep
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.slices import Slices

SEEDS, SIZE = Seeds(0, np.arange(2)), 0.02
IMAGE = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
IMAGE[..., :3] = 0
SLICES = Slices.of(IMAGE)
WHERE = torch.zeros_like(SLICES.brain)
WHERE[..., 4:12, 4:12] = True


@pytest.mark.parametrize(("aim", "way"), [(FALSE_ALARM, 1), (MISSED_LESION, -1)])
def test_where_the_answer_is_gray_the_worst_change_is_known(aim: int, way: int) -> None:
    """The reconstruction is 0.5 whatever is seen: intensities go away from it, or towards it, as far as they may."""
    model = told(lambda noisy: 0 * noisy)
    changed = attacked(model, OnePass(), SLICES, SEEDS, WHERE, size=SIZE, aim=aim)
    usual, other = ((image - 0.5).abs()[WHERE] for image in (IMAGE, changed))
    far = usual > SIZE  # nearer ones would go past it
    assert torch.allclose(other[far], usual[far] + way * SIZE, atol=1e-5)
    assert torch.equal(changed[~WHERE], IMAGE[~WHERE])  # what does not count does not matter here


@pytest.mark.parametrize("aim", [FALSE_ALARM, MISSED_LESION])
@pytest.mark.parametrize("restorer", [OneStep((200, 400)), MultiStage((200,), smallest=1)])
def test_a_real_network_is_moved_further_than_by_chance_and_the_ball_is_not_left(restorer: OneStep, aim: int) -> None:
    model = trained(Told.of(tiny_method())).requires_grad_(False)
    changed = attacked(model, restorer, SLICES, SEEDS, WHERE, size=SIZE, aim=aim)
    change = changed - IMAGE
    assert change.abs().max() <= SIZE + 1e-6 and not change[~SLICES.brain].any()
    assert changed.min() >= 0 and changed.max() <= 1 and not changed.requires_grad
    by_chance = random_like(SLICES, changed, torch.Generator().manual_seed(0))
    found = [float(residual(model, restorer, SLICES.with_image(i), SEEDS, WHERE)) for i in (IMAGE, by_chance, changed)]
    assert aim * (found[2] - found[0]) > 2 * abs(found[1] - found[0])


def test_random_changes_are_as_large_in_every_pixel() -> None:
    changed = IMAGE + within(SLICES, torch.full_like(IMAGE, SIZE))
    other = random_like(SLICES, changed, torch.Generator().manual_seed(0)) - IMAGE
    assert torch.allclose(other.abs(), (changed - IMAGE).abs(), atol=1e-6)
    assert 0.35 < (other > 0)[SLICES.brain].float().mean() < 0.65


def test_intensities_stay_in_their_range() -> None:
    white = replace(SLICES, image=torch.ones_like(IMAGE), brain=torch.ones_like(SLICES.brain))
    assert not within(white, torch.full_like(IMAGE, SIZE)).any()
    assert torch.allclose(within(white, torch.full_like(IMAGE, -SIZE)), torch.tensor(-SIZE))


def examined(volume: np.ndarray, truth: np.ndarray) -> Any:
    mask = volume > 0
    prepared, case = Volume(volume, mask, GRID), SimpleNamespace(id="mslub-07-T2", contrast="T2")
    return SimpleNamespace(prepared=prepared, mask=mask, case=case, truth_on_grid=lambda: truth)


def test_each_aim_and_size_is_tried_and_the_worst_is_worse_than_chance() -> None:
    torch.manual_seed(0)
    method = tiny_method()
    bundle: Any = SimpleNamespace(adaptable=lambda: trained(Told.of(method)), method=method)
    volume = np.random.default_rng(0).uniform(0.3, 0.7, (8, 16, 16)).astype(np.float32)
    truth = np.zeros(volume.shape, bool)
    truth[4, 5:9, 5:9] = True
    truth[:, 0] = True  # some in all slices
    found = list(worst_cases(bundle, examined(volume, truth), seed=0))
    assert [(each["aim"], each["size"]) for each in found] == [(aim, size) for aim in AIMS for size in SIZES]
    for each in found:
        sign = AIMS[each["aim"]]
        assert sign * (each["worst"] - each["usual"]) >= sign * (each["random"] - each["usual"])
        assert 0 < each["similarity"] <= 1
    largest = [each["worst"] - each["usual"] for each in found if each["size"] == SIZES[-1]]
    assert largest[0] > 0.001 and largest[1] < -0.001


def test_healthy_scans_have_no_lesion_to_miss_and_the_slices_with_most_brain_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method, chosen = tiny_method(), []
    bundle: Any = SimpleNamespace(adaptable=lambda: Told.of(method), method=method)
    volume = np.zeros((8, 16, 16), np.float32)
    for z in range(8):
        volume[z, : 2 * z + 2] = 0.4
    monkeypatch.setattr(adversarial, "slices_of", lambda *given: chosen.append(given[-1]) or slices_of(*given))
    found = list(worst_cases(bundle, examined(volume, np.zeros(volume.shape, bool)), seed=0))
    assert [each["aim"] for each in found] == ["false alarm"] * len(SIZES)
    assert chosen[0].tolist() == [4, 5, 6, 7] and len(chosen[0]) == MOST_SLICES
