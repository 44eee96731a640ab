"""Fitting the model: predict the clean slice from a noisy one, on healthy slices only."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.model.slices import Slices
from conddiffusion_uad.training.loop import Plan, Training
from conddiffusion_uad.training.progress import TrainingLog
from conddiffusion_uad.training.recipe import FitSettings
from conddiffusion_uad.training.synthetic_anomalies.anomalies import corrupt
from conddiffusion_uad.training.validation import Validation, restoration_loss


@dataclass(frozen=True)
class Corrupted:
    """What a step of the fit learns from; all (B, 1, H, W) but ``level``.

    Attributes:
        slices: Healthy, in [0, 1].
        seen: The same with made-up anomalies.
        where: These are, 0 to 1.
        level: Of the noise, (B,).
        noise: That is put on what is seen.
    """

    slices: torch.Tensor
    seen: torch.Tensor
    where: torch.Tensor
    level: torch.Tensor
    noise: torch.Tensor


class Fitting(Training[Corrupted]):
    """Learn to give back healthy slices.

    Args:
        model: The network to fit, on its device.
        settings: How long and how fast.
        plan: How it goes on from step to step.
        validation: Judges the model now and then, if there is something to judge it on.
    """

    def __init__(
        self, model: ConditionedDiffusion, settings: FitSettings, plan: Plan, validation: Validation | None = None
    ) -> None:
        self.model = model.to(memory_format=torch.channels_last).train()
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.settings = settings
        self.best = Best()
        self._parallel = plan.processes.parallel(self.model)
        self._validation = validation
        parts = {"model": self.model, "average": self.average, "optimizer": self.optimizer, "best": self.best}
        super().__init__(parts, plan, next(model.parameters()).device)

    def result(self) -> ConditionedDiffusion:
        """The averaged model: the last one, or the best if the validation keeps that."""
        model = self.average.module.eval()
        if self.best.weights:
            model.load_state_dict(self.best.weights)
        return model

    def prepare(self, slices: torch.Tensor, generator: torch.Generator) -> Corrupted:
        lowest, highest = self.settings.levels
        level = torch.randint(lowest, highest + 1, (len(slices),), generator=generator).to(self.device)
        seeds = torch.randint(2**31, (len(slices),), generator=generator).tolist()
        seen, where = corrupt(slices, self.settings.anomalies.share, generator)
        share = self._processes.share
        seen, where, slices, level = (share(values) for values in (seen, where, slices, level))
        seeds = seeds[:1] if self.settings.one_noise else share(seeds)
        return Corrupted(slices, seen, where, level, self.model.noise(seeds, slices).expand_as(slices))

    def learn(self, example: Corrupted) -> float:
        """Learn from slices and return the loss: the weighted mean absolute error of the estimate of x_0 in [-1, 1].

        The model sees, and is conditioned on, slices with made-up anomalies, and has to give back the healthy ones;
        errors where the anomalies were count more.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            estimate = self._parallel(Slices.of(example.seen), example.level, example.noise)
        loss = restoration_loss(estimate, example.slices, example.where, self.settings.anomalies.weight)
        self._update(loss)
        return self._processes.mean(loss)

    def _update(self, loss: torch.Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()
        self.average.update_parameters(self.model)

    def learning_rate(self) -> float:
        """Linear warm-up, then constant, or half a cosine down to 2 % of the peak."""
        settings = self.settings
        warm = min(1.0, (self.step + 1) / max(settings.warm_up, 1))
        cosine = 0.51 + 0.49 * math.cos(math.pi * self.step / self.steps)
        return settings.learning_rate * warm * (cosine if settings.schedule == "cosine" else 1.0)

    def after_step(self, log: TrainingLog) -> None:
        if self._validation is None or not self._validation.due(self.step, self.steps):
            return
        loss = self._validation.loss(self.average.module)
        better = loss < self.best.loss
        log.validated(self.step, loss, better)
        if better:
            weights = self.average.module.state_dict() if self._validation.settings.keep == "best" else {}
            self.best.replace(loss, weights)


class Best:
    """The weights with the lowest validation loss so far; none when they are not to be kept."""

    def __init__(self) -> None:
        self.loss = math.inf
        self.weights: dict[str, torch.Tensor] = {}

    def replace(self, loss: float, weights: dict[str, torch.Tensor]) -> None:
        """Take better weights."""
        self.loss, self.weights = loss, copy.deepcopy(weights)

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loss, self.weights = state["loss"], state["weights"]
