"""Lesions drawn by diffusion: the area-weighted loss, what a drawing leaves alone, and what is learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lesion_drawers import TINY_DENOISER, unlearned_drawer
from tiny_model import GRID
from torch import nn

from conddiffusion_uad.method.noise.gaussian import Gaussian
from conddiffusion_uad.model.schedule import CosineSchedule
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data.slabs import Slabs, View
from conddiffusion_uad.training.distributed import Processes
from conddiffusion_uad.training.loop import Plan, Training
from conddiffusion_uad.training.objectives.diffused_anomalies import DiffusedAnomalies
from conddiffusion_uad.training.objectives.synthetic_anomalies import SyntheticAnomalies
from conddiffusion_uad.training.settings import LearningSettings
from conddiffusion_uad.training.synthetic_anomalies.diffused import lesion_file
from conddiffusion_uad.training.synthetic_anomalies.diffused.learning import (
    AreaWeighted,
    LesionBatches,
    NoisyLesions,
    area_weight,
)
from conddiffusion_uad.training.synthetic_anomalies.diffused.network import LesionDiffusion, LesionNetwork
from conddiffusion_uad.training.synthetic_anomalies.diffused.pairs import LesionSlice

FLAIR = CONTRASTS.index("FLAIR")


class Knowing(LesionDiffusion):
    """Answers with slices that it was told, or with 0, and remembers what it was shown."""

    def __init__(self, answer: torch.Tensor | None = None) -> None:
        super().__init__(LesionNetwork(TINY_DENOISER, halo=1))
        self.answer, self.shown = answer, []

    def forward(self, x, timestep, mask, region, contrast):
        self.shown.append((x, timestep, region))
        return torch.zeros_like(x) if self.answer is None else self.answer


def square(batch: int = 1, side: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Gray slices with a rim that is no brain, and a lesion of 2 x 2 pixels."""
    image = torch.zeros(batch, 1, side, side)
    image[..., 1:-1, 1:-1] = 0.5
    mask = torch.zeros(batch, 1, side, side, dtype=torch.bool)
    mask[..., 3:5, 1:3] = True
    return image, mask


def test_the_loss_is_the_area_weighted_error() -> None:
    """By hand: 4 of 64 pixels are lesion, weight 1 + 60/64; errors are 1 there and 1/2 in two pixels elsewhere."""
    image, mask = square()
    assert area_weight(mask)[0, 0, 3, 1].item() == 1.9375
    assert area_weight(mask)[0, 0, 0, 0].item() == 1
    clean = 2 * image - 1
    estimate = clean.clone()
    estimate[mask] += 1
    estimate[0, 0, 7, 6:8] -= 0.5
    example = NoisyLesions(image, mask, torch.tensor([FLAIR]), torch.tensor([500]), torch.randn(image.shape))
    loss = AreaWeighted().loss(Knowing(estimate), example)
    assert loss.item() == pytest.approx((4 * 1.9375 * 1 + 2 * 0.25) / 64)


def test_small_lesions_weigh_more_than_large_ones() -> None:
    mask = torch.zeros(2, 1, 10, 10, dtype=torch.bool)
    mask[0, ..., :1, :1] = mask[1, ..., :5, :] = True
    assert area_weight(mask)[:, 0, 0, 0].tolist() == pytest.approx([1.99, 1.5])


def test_noise_is_put_into_the_mask_and_its_halo_inside_the_brain_alone() -> None:
    image, mask = square()
    network, noise = Knowing(), torch.full((1, 1, 8, 8), 2.0)
    AreaWeighted().loss(network, NoisyLesions(image, mask, torch.tensor([FLAIR]), torch.tensor([500]), noise))
    x, _, region = network.shown[0]
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[2:6, 1:4] = True  # grown by a pixel, but not over the rim at the left
    assert torch.equal(region[0, 0], expected)
    a = CosineSchedule().alphas_cumprod[500]
    assert torch.allclose(x[region], 2 * (1 - a).sqrt()) and torch.equal(x[~region], (2 * image - 1)[~region])


def test_a_drawing_changes_nothing_else_to_the_bit(tmp_path: Path) -> None:
    drawer = lesion_file.load(unlearned_drawer(tmp_path / "lesions.safetensors", ["FLAIR"]))
    image, mask = square(3, 16)
    image = torch.where(image > 0, torch.rand(image.shape, generator=torch.Generator().manual_seed(0)), image)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    contrast = torch.full((3,), FLAIR)
    drawn = drawer.network.draw(image, mask, contrast, noise, 5)
    region = drawer.network.region(mask, image > 0)
    assert torch.equal(drawn[~region], image[~region])
    assert (drawn[region] != image[region]).float().mean() > 0.9
    assert drawn[region].min() > 0 and drawn.max() <= 1
    assert torch.equal(drawn, drawer.network.draw(image, mask, contrast, noise, 5))
    assert not torch.equal(drawn, drawer.network.draw(image, mask, contrast, -noise, 5))
    nothing = torch.zeros_like(mask)
    assert torch.equal(drawer.network.draw(image, nothing, contrast, noise, 5), image)


def test_a_network_that_knows_the_lesion_draws_it() -> None:
    """DDIM from pure noise ends at what the network answers, whatever the noise, and shows it the rest as it is."""
    image, mask = square()
    answer = torch.full_like(image, 0.6)
    network = Knowing(answer)
    drawn = network.draw(image, mask, torch.tensor([FLAIR]), torch.randn(image.shape), 7)
    region = network.region(mask, image > 0)
    assert torch.allclose(drawn[region], torch.tensor(0.8)) and torch.equal(drawn[~region], image[~region])
    assert [int(timestep) for _, timestep, _ in network.shown] == [1000, 857, 714, 571, 429, 286, 143]
    assert all(torch.equal(x[~region], (2 * image - 1)[~region]) for x, _, _ in network.shown)


def pairs(count: int, side: int = 16) -> list[LesionSlice]:
    """Slices of some grays, with a square lesion that is white."""
    found = []
    for number in range(count):
        image = np.zeros((side, side), np.float32)
        image[1:-1, 1:-1] = 0.3 + 0.2 * number / count
        mask = np.zeros((side, side), bool)
        top, left = 4 + number % 4, 3 + number % 5
        mask[top : top + 5, left : left + 5] = True
        found.append(LesionSlice(np.where(mask, np.float32(0.95), image), mask, FLAIR, f"{number // 2}"))
    return found


def test_it_learns_what_lesions_look_like() -> None:
    """After some steps on white lesions, lesions that are drawn into a slice that it has not seen are bright."""
    torch.manual_seed(0)
    network = LesionDiffusion(LesionNetwork(TINY_DENOISER, halo=1))
    settings = LearningSettings(
        objective=AreaWeighted(), samples=16 * 150, batch=16, learning_rate=1e-2, precision="fp32", schedule="constant"
    )
    plan = Plan(LesionBatches(pairs(12), 16), Gaussian(), settings.steps(1), 0, "", Processes())
    learner = Training(network, settings, plan)
    losses = [learner.advance() for _ in range(learner.steps)]
    assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:5])
    healthy = torch.zeros(1, 1, 16, 16)
    healthy[..., 1:-1, 1:-1] = 0.42
    mask = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    mask[..., 5:10, 5:10] = True
    noise = torch.randn(healthy.shape, generator=torch.Generator().manual_seed(2))
    drawn = learner.result().draw(healthy, mask, torch.tensor([FLAIR]), noise, 10)
    assert drawn[mask].mean() > 0.75
    assert drawn[network.region(mask, healthy > 0) & ~mask].mean() < 0.6  # the halo is tissue


def test_batches_move_images_and_lesions_together() -> None:
    drawn = LesionBatches(pairs(12), 64).at(0, torch.Generator().manual_seed(0))
    assert drawn.mask.flatten(1).any(dim=1).all() and not (drawn.mask & (drawn.image == 0)).any()
    inside, outside = drawn.image[drawn.mask], drawn.image[~drawn.mask & (drawn.image > 0)]
    assert inside.mean() > 0.8 and outside.median() < 0.6
    assert len({tuple(mask.flatten().tolist()) for mask in drawn.mask}) > 24
    again = LesionBatches(pairs(12), 64).at(0, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.image, again.image)


def slabs(contrast: str, count: int = 16) -> Slabs:
    view = View(GRID)
    volume = torch.zeros(count, 1, 16, 16)
    volume[:, :, 2:-2, 2:-2] = torch.rand(count, 1, 1, 1, generator=torch.Generator().manual_seed(3)).clamp(0.3, 0.6)
    contrasts = torch.full((count,), CONTRASTS.index(contrast))
    source = torch.zeros(count, dtype=torch.long)
    return Slabs(volume, volume > 0, torch.full((count,), 4), contrasts, source, view)


def test_the_objective_draws_what_it_knows_and_leaves_the_rest_parametric(tmp_path: Path) -> None:
    file = str(unlearned_drawer(tmp_path / "lesions.safetensors", ["FLAIR"]))
    objective = DiffusedAnomalies(share=1.0, lesions=file, drawn=1.0, steps=3)

    def differs(changed: DiffusedAnomalies, of: Slabs) -> torch.Tensor:
        plain = SyntheticAnomalies(share=1.0).corrupt(of, Gaussian(), torch.Generator().manual_seed(0))
        made = changed.corrupt(of, Gaussian(), torch.Generator().manual_seed(0))
        assert torch.equal(made.healthy, plain.healthy)
        inside = made.weight > 1
        near = nn.functional.max_pool2d(inside.float(), 3, 1, 1) > 0
        drawn = (made.seen.image != plain.seen.image).flatten(1).any(dim=1)
        untouched = ~near & drawn.view(-1, 1, 1, 1)
        assert torch.equal(made.seen.image[untouched], of.volume[untouched])  # but for lesions and their halo
        return drawn

    assert differs(objective, slabs("FLAIR")).float().mean() > 0.8
    assert not differs(objective, slabs("T2")).any()
    assert not differs(replace(objective, drawn=0.0), slabs("FLAIR")).any()
    small = str(unlearned_drawer(tmp_path / "small.safetensors", ["FLAIR"], largest_mm2=0.0))
    assert not differs(replace(objective, lesions=small), slabs("FLAIR")).any()


def test_what_cannot_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Nothing is said") as caught:
        DiffusedAnomalies().drawer()
    assert caught.value.code == "no_lesions" and "--lesions" in caught.value.hint
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    for name in ("broken.safetensors", "missing.safetensors"):
        with pytest.raises(BadInput, match="cannot be used to draw lesions"):
            DiffusedAnomalies(lesions=name).beside(tmp_path).drawer()
    for wrong in ({"drawn": 1.5}, {"steps": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DiffusedAnomalies(**wrong)
    with pytest.raises(ValueError, match="halo"):
        LesionNetwork(TINY_DENOISER, halo=99)
    with pytest.raises(ValueError, match="unknown key 'width'"):
        LesionNetwork({**TINY_DENOISER, "width": 3})
