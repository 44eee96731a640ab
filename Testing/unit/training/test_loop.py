"""Steps that can be interrupted, resumed exactly, judged, and cut short together."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_model import GRID, tiny_config
from torch import nn

from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.protocol.failures import BadInput, Cancelled
from conddiffusion_uad.training.data.batches import Mixture
from conddiffusion_uad.training.data.slabs import Slabs, View
from conddiffusion_uad.training.distributed import Processes
from conddiffusion_uad.training.loop import Plan, Training, each
from conddiffusion_uad.training.objectives.synthetic_anomalies import SyntheticAnomalies
from conddiffusion_uad.training.progress import TrainingLog
from conddiffusion_uad.training.settings import LearningSettings

SETTINGS = LearningSettings(
    objective=SyntheticAnomalies(), samples=48, batch=4, learning_rate=1e-3, ema=0.9, clip=1.0, precision="fp32"
)


class Textures:
    """Draws slabs of random textures."""

    def draw(self, count: int, source: torch.Generator) -> Slabs:
        volume = torch.rand(count, 1, 16, 16, generator=source)
        return Slabs(volume, volume > 0, torch.arange(count), *torch.zeros(2, count, dtype=torch.long), View(GRID))


class Rising:
    """Judges every step, the second as the best."""

    def __init__(self, keeps_best: bool) -> None:
        self.keeps_best, self._losses = keeps_best, iter([0.5, 0.25, 0.75, 1.0])

    def due(self, step: int, steps: int) -> bool:
        return step <= 4

    def loss(self, network: nn.Module) -> float:
        return next(self._losses)


class Log(TrainingLog):
    """Remembers what it is told of validations."""

    def __init__(self) -> None:
        self.told: list[tuple[int, float, bool]] = []

    def validated(self, step: int, loss: float, best: bool) -> None:
        self.told.append((step, loss, best))


def training(settings: LearningSettings = SETTINGS, processes: Processes | None = None, judge: Any = None) -> Training:
    torch.manual_seed(0)
    model = tiny_config().build()
    source = Mixture(Textures(), settings.batch)
    plan = Plan(source, model.noise, settings.steps(1), 0, repr(settings), processes or Processes())
    return Training(model, settings, plan, judge)


def same(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("ema", [0.9, 0.0])
def test_a_resumed_training_is_the_uninterrupted_one(tmp_path: Path, ema: float) -> None:
    settings = replace(SETTINGS, ema=ema)
    whole, first, second = (training(settings) for _ in range(3))
    for _ in range(6):
        whole.advance()
    for _ in range(3):
        first.advance()
    first.store(tmp_path / "checkpoint.pt")
    second.restore(tmp_path / "checkpoint.pt")
    for _ in range(3):
        second.advance()
    assert second.step == whole.step == 6
    assert same(second.network, whole.network) and same(second.result(), whole.result())
    assert (whole.result() is whole.network) == (ema == 0)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    training().store(tmp_path / "checkpoint.pt")
    with pytest.raises(BadInput) as caught:
        training(replace(SETTINGS, samples=480)).restore(tmp_path / "checkpoint.pt")
    assert caught.value.code == "other_checkpoint"


@pytest.mark.parametrize("keeps_best", [True, False])
def test_the_best_weights_are_kept_if_that_is_wanted(tmp_path: Path, keeps_best: bool) -> None:
    learner, log = training(judge=Rising(keeps_best)), Log()
    reference = training()
    learner.run(tmp_path / "checkpoint.pt", log, every=math.inf)
    for _ in range(2):
        reference.advance()
    assert log.told == [(1, 0.5, True), (2, 0.25, True), (3, 0.75, False), (4, 1.0, False)]
    assert same(learner.result(), reference.learned) == keeps_best


class Interrupted(Processes):
    """A process beside another one that is interrupted in the third step."""

    steps = 0

    def any(self, flag: bool, device: torch.device) -> bool:
        assert not flag
        self.steps += 1
        return self.steps == 3


def test_an_interrupt_of_another_process_ends_this_one_in_the_same_step(tmp_path: Path) -> None:
    learner = training(processes=Interrupted())
    with pytest.raises(Cancelled, match="Stopped at step 3"):
        learner.run(tmp_path / "checkpoint.pt", TrainingLog())
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3


def test_the_learning_rate_warms_up_and_falls() -> None:
    learner = training(replace(SETTINGS, warm_up=4, samples=400))
    rates = []
    for learner.step in range(100):
        rates.append(learner.learning_rate())
    assert rates[0] == pytest.approx(1e-3 / 4) and max(rates) == pytest.approx(1e-3, rel=0.01)
    assert rates[-1] == pytest.approx(2e-5, rel=0.05)
    assert rates[3:] == sorted(rates[3:], reverse=True)


@dataclass(frozen=True)
class _Example:
    slices: Slices
    name: Any


def test_examples_are_changed_tensor_by_tensor_and_hold_nothing_else() -> None:
    example = _Example(Slices.of(torch.arange(4.0).view(4, 1, 1, 1)), torch.arange(4))
    shard = each(Processes(1, 2).shard, example)
    assert shard.slices.image.flatten().tolist() == [1, 3] and shard.name.tolist() == [1, 3]
    with pytest.raises(TypeError, match="not of str"):
        each(Processes().shard, _Example(example.slices, "text"))
