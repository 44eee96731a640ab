"""Up and down again by DDIM leads back; what is not suspicious stays as it is, and the rest is drawn anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from restoring import Told, told
from tiny_model import tiny_method
from torch import nn
from torch.nn import functional

from conddiffusion_uad.method.measures.severity import Plane, Severity
from conddiffusion_uad.method.restore.counterfactual import Counterfactual, Walk, saliency
from conddiffusion_uad.method.seeds import Seeds
from conddiffusion_uad.model.schedule import STEPS, CosineSchedule
from conddiffusion_uad.model.slices import Slices

MEAN, STD = 0.2, 0.5
ALPHA = CosineSchedule().alphas_cumprod


class Ideal(Told):
    """Knows that intensities in [-1, 1] are normal, and predicts the mean of x_0 given x_t, which has a closed form."""

    def predict(
        self, noisy: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor, context: torch.Tensor
    ) -> torch.Tensor:
        alpha = ALPHA[timestep].view(-1, 1, 1, 1)
        gain = STD**2 * alpha.sqrt() / (STD**2 * alpha + 1 - alpha)
        return (MEAN + gain * (noisy - alpha.sqrt() * MEAN) + 1) / 2


def ideal() -> Told:
    model = told(lambda noisy: noisy)
    model.__class__ = Ideal
    return model


def normal(count: int = 2) -> Slices:
    x = MEAN + STD * torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    slices = Slices.of((x + 1) / 2)
    return Slices(**{**vars(slices), "brain": torch.ones_like(slices.brain)})


def walk(slices: Slices, steps: int) -> Walk:
    return Walk(ideal(), slices, torch.zeros(len(slices), 0), steps)


def test_ddim_goes_where_the_closed_form_says_and_comes_back() -> None:
    """For normal data, x_t = sqrt(alpha) mean + sqrt(std^2 alpha + 1 - alpha) (x_0 - mean) / std."""
    slices = normal()
    there = walk(slices, 250)
    way = there.up(601)
    x, alpha = 2 * slices.image - 1, ALPHA[601]
    expected = alpha.sqrt() * MEAN + (STD**2 * alpha + 1 - alpha).sqrt() * (x - MEAN) / STD
    assert len(way) == 151 and torch.allclose(way[-1], expected, atol=0.02)
    back = way[-1]
    for step in range(150, 0, -1):
        back = there.down(back, step)
    assert torch.allclose(back, x, atol=0.02)
    coarse = walk(slices, 10).up(601)[-1]
    assert (coarse - expected).abs().mean() > 3 * (way[-1] - expected).abs().mean()  # more steps, less error


def test_random_steps_keep_the_distribution() -> None:
    slices = normal(200)
    there = walk(slices, 100)
    way = there.up(401)
    x = way[-1]
    for step in range(40, 0, -1):
        x = there.random_step(x, step, torch.randn(x.shape, generator=torch.Generator().manual_seed(step)))
    assert x.mean().item() == pytest.approx(MEAN, abs=0.02) and x.std().item() == pytest.approx(STD, rel=0.04)
    together = torch.corrcoef(torch.stack([x.flatten(), way[0].flatten()]))[0, 1]
    assert 0.2 < together < 0.95  # it is drawn anew, given what is left of the slice at that timestep


def test_what_differs_most_is_suspicious_and_what_is_near() -> None:
    image = torch.full((1, 1, 20, 20), 0.5)
    image[..., :2] = 0
    slices = Slices.of(image)
    estimate = image.clone()
    estimate[..., 8:10, 8:10] += 0.3
    estimate[..., :2] += 0.9  # not brain
    found = Counterfactual(share=4 / 360, grow=1).suspicious(slices, (image - estimate).abs())
    assert found.sum() == 16 and bool(found[..., 7:11, 7:11].all())
    assert not Counterfactual(share=0).suspicious(slices, (image - estimate).abs()).any()
    assert torch.equal(Counterfactual(share=1).suspicious(slices, (image - estimate).abs()), slices.brain)


def test_outside_of_the_suspicious_places_the_scan_is_as_it_was() -> None:
    slices, seeds = normal(), Seeds(0, np.arange(2))
    model = ideal()
    part = Counterfactual((400,), steps=20, share=0.1, grow=0)
    found = part(model, slices, seeds)[0]
    level = torch.full((2,), 400)
    estimate = model(slices, level, model.noise(seeds.of(400), slices.image))
    where = part.suspicious(slices, (slices.image - estimate).abs())
    assert torch.equal(found[~where], slices.image[~where])
    assert (found[where] - slices.image[where]).abs().min() > 1e-4
    other = part(model, slices, Seeds(1, np.arange(2)))[0]
    assert not torch.equal(found, other) and torch.equal(found, part(model, slices, seeds)[0])


class Weighted(nn.Module):
    """An encoder with two features: the sum of intensities times known weights, and one that says nothing."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, slices: Slices) -> torch.Tensor:
        first = (slices.image * self.weights).flatten(1).sum(1)
        return torch.stack([first, torch.zeros_like(first)], dim=1)


def test_by_its_saliency_it_changes_what_the_severity_depends_on() -> None:
    """Of a severity that is linear in the intensities, the gradient is its weights, whatever their sign."""
    weights = torch.zeros(1, 1, 8, 8)
    weights[..., 1, 1], weights[..., 6, 5] = 2.0, -5.0
    model, plane = ideal(), Plane(2)
    plane.normal.copy_(torch.tensor([0.6, 0.8]))
    model.encoder, model.networks["severity"] = Weighted(weights), plane
    slices = normal()
    with torch.no_grad():
        found = saliency(model, slices, "severity")
        part = Counterfactual((400,), steps=20, share=9 / 64, grow=0, saliency="severity")
        changed = part(model, slices, Seeds(0, np.arange(2)))[0] != slices.image
    expected = functional.avg_pool2d(0.6 * weights.abs(), 5, stride=1, padding=2).expand_as(found)
    assert torch.allclose(found, expected, atol=1e-6)
    assert changed.sum(dim=(1, 2, 3)).tolist() == [9, 9] and not changed[..., :4, :].any()
    assert part.plain and not Counterfactual().plain
    with pytest.raises(ValueError, match="measures does not list it"):
        tiny_method(restore=part)
    assert tiny_method(restore=part, measures=(Severity(4),)).plain


def test_a_step_is_no_longer_than_the_way() -> None:
    assert len(walk(normal(), 4).up(200)) == 1  # a quarter of the way is further
    assert len(walk(normal(), STEPS).up(3)) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        *({"steps": 0}, {"steps": 2.0}, {"share": 1.5}, {"grow": -1}, {"timesteps": (1001,)}),
        {"timesteps": (500, 20)},  # fifty steps lead from 1 to 21: the reconstruction would be the scan itself
    ],
)
def test_what_it_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Counterfactual(**wrong)
