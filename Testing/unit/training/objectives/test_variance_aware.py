"""Features forget the source: the adversary's gradient reaches the encoder reversed, and both have closed forms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_model import DENOISER, GRID, tiny_config, tiny_method
from torch.nn import functional

from conddiffusion_uad.method.condition.none import Unconditional
from conddiffusion_uad.training.data.slabs import Slabs, View
from conddiffusion_uad.training.loop import each
from conddiffusion_uad.training.networks.adversary import Reversal, WithAdversary
from conddiffusion_uad.training.objectives.variance_aware import VarianceAware, balanced, between

OBJECTIVE = VarianceAware(reversal=0.5)
SOURCES = torch.tensor([0, 0, 1, 1, 1, 0])


def example() -> Any:
    """Slices of two sources, which differ in brightness."""
    volume = torch.rand(6, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.3
    volume += 0.1 + 0.4 * SOURCES.view(-1, 1, 1, 1)
    place = torch.zeros(6, dtype=torch.long)
    slabs = Slabs(volume, volume > 0, place, place, SOURCES, View(GRID))
    return OBJECTIVE.corrupt(slabs, tiny_config().method.noise, torch.Generator().manual_seed(1))


def network(strength: float = 0.5) -> WithAdversary:
    """A model with weights that let its estimate depend on the condition, and its adversary."""
    torch.manual_seed(0)
    both = OBJECTIVE.around(tiny_method().build(DENOISER)).eval()
    assert both.strength == OBJECTIVE.reversal
    both.strength = strength
    with torch.no_grad():
        for parameter in both.model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    both.training = True  # for the loss; normalizations keep to what they know
    return both


def task_of(both: WithAdversary, made: Any) -> torch.Tensor:
    """The loss of the slices alone."""
    estimate, *_ = both(made.seen, made.timestep, made.noise)
    return 2 * (made.weight * (estimate - made.healthy).abs()).mean()


def adversary_of(both: WithAdversary, made: Any) -> torch.Tensor:
    """How wrong the adversary is."""
    _, logits, pairs = both(made.seen, made.timestep, made.noise)
    return balanced(logits, SOURCES[pairs[0]] == SOURCES[pairs[1]])


def test_the_gradient_is_reversed_and_the_features_are_not_changed() -> None:
    x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    y = Reversal.apply(x, 0.25)
    assert torch.equal(y, x)
    (y**2).sum().backward()
    assert x.grad is not None and torch.allclose(x.grad, -0.25 * 2 * x.detach())


def test_the_encoder_learns_against_the_adversary_and_the_adversary_for_itself() -> None:
    """With strength s, the encoder's gradient is that of the task minus s times that of the adversary."""
    made = example()
    stem, own = {}, {}
    for strength in (0.0, 0.5, 2.0):
        both = network(strength)
        total = OBJECTIVE.loss(both, made)
        assert total.item() == pytest.approx((task_of(both, made) + adversary_of(both, made)).item(), abs=1e-5)
        (stem[strength],) = torch.autograd.grad(total, both.model.encoder.conv1.weight, retain_graph=True)
        own[strength] = torch.autograd.grad(total, both.judge[0].weight)[0]
    both = network(-1.0)  # not reversed: the true gradient of the adversary
    weight = both.model.encoder.conv1.weight
    (task,) = torch.autograd.grad(task_of(both, made), weight)
    (adversary,) = torch.autograd.grad(adversary_of(both, made), weight)
    assert adversary.abs().max() > 1e-5
    for strength, found in stem.items():
        assert torch.allclose(found, task - strength * adversary, atol=1e-6)
    assert torch.equal(own[0.0], own[2.0]) and own[0.0].any()


def test_a_step_of_the_encoder_makes_the_adversary_more_wrong() -> None:
    made, both = example(), network(1.0)
    before = adversary_of(both, made)
    before.backward()
    with torch.no_grad():
        for parameter in both.model.encoder.parameters():
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad
    assert adversary_of(both, made).item() > before.item()


def test_every_pair_is_judged_once_and_both_answers_weigh_the_same() -> None:
    made = example()
    estimate, logits, pairs = network()(made.seen, made.timestep, made.noise)
    assert estimate.shape == (6, 1, 64, 64) and pairs.shape == (2, 15) and logits.shape == (15,)
    assert {tuple(pair) for pair in pairs.T.tolist()} == {(a, b) for a in range(6) for b in range(a + 1, 6)}
    same, sure = torch.tensor([True, False, False, False]), torch.tensor([2.0, 1.0, 1.0, 1.0])
    expected = (functional.softplus(torch.tensor(-2.0)) + functional.softplus(torch.tensor(1.0))) / 2
    assert balanced(sure, same).item() == pytest.approx(expected.item(), abs=1e-6)
    assert balanced(sure, same | True).item() == 0


def test_the_variance_of_the_loss_is_that_between_sources() -> None:
    losses = torch.tensor([1.0, 3.0, 6.0, 6.0, 6.0, 2.0])
    assert between(losses, SOURCES).item() == pytest.approx(4.0)  # means 2 and 6
    assert between(losses, SOURCES * 0).item() == 0
    made, both = example(), network()
    estimate, *_ = both(made.seen, made.timestep, made.noise)
    of_each = 2 * (made.weight * (estimate - made.healthy).abs()).flatten(1).mean(1)
    added = replace(OBJECTIVE, variance=50.0).loss(both, made) - OBJECTIVE.loss(both, made)
    assert added.item() == pytest.approx(50 * between(of_each, SOURCES).item(), rel=1e-3) and added.item() > 0.001


def test_a_validation_asks_for_the_task_alone() -> None:
    """The best weights are not those whose features tell their source best."""
    made, both = example(), network()
    assert OBJECTIVE.loss(both.eval(), made).item() == pytest.approx(task_of(both, made).item(), abs=1e-6)
    assert adversary_of(both, made).item() > 0.1


def test_an_example_is_made_of_tensors_that_know_their_source() -> None:
    assert each(lambda values: values[::2], example()).source.tolist() == SOURCES[::2].tolist()


def test_what_cannot_tell_sources_is_refused() -> None:
    with pytest.raises(ValueError, match="residual network"):
        OBJECTIVE.require(tiny_method(condition=Unconditional()))
    with pytest.raises(ValueError, match="only one"):
        OBJECTIVE.require_sources(1)
    with pytest.raises(ValueError, match="at least 0"):
        VarianceAware(reversal=-0.1)
