"""Fitting the model: predict the clean slice from a noisy one, on healthy slices only."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from conddiffusion_uad.model.cddpm import ConditionedDiffusion

from .anomalies import corrupt
from .loop import Log, Training
from .recipe import FitSettings
from .sampling import BatchSampler


class Fitting(Training):
    """Learn to give back healthy slices.

    Args:
        model: The network to fit, on its device.
        sampler: Source of batches.
        settings: How long and how fast.
        seed: Of batches, levels and noise.
        encoder: Hash of the pre-trained weights that the model's encoder starts from, if any.
    """

    def __init__(
        self,
        model: ConditionedDiffusion,
        sampler: BatchSampler,
        settings: FitSettings,
        seed: int,
        encoder: str | None = None,
    ) -> None:
        self.model = model.to(memory_format=torch.channels_last).train()
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.01)
        self.settings = settings
        self._sampler = sampler
        super().__init__(
            {"model": self.model, "average": self.average, "optimizer": self.optimizer},
            repr((settings, encoder)),
            math.ceil(settings.samples / settings.batch),
            settings.batch,
            seed,
        )

    def run(self, checkpoint: Path, log: Log) -> ConditionedDiffusion:
        """Train to the end and return the averaged model; resumes from the checkpoint if there is one."""
        super().run(checkpoint, log)
        return self.average.module.eval()

    def advance(self) -> float:
        """Take one step and return its loss: the weighted mean absolute error of the estimate of x_0 in [-1, 1].

        The model sees, and is conditioned on, slices with made-up anomalies, and has to give back the healthy ones;
        errors where the anomalies were count more.
        """
        generator = self.randomness()
        device = next(self.model.parameters()).device
        slices = self._sampler.draw(self.settings.batch, generator).to(memory_format=torch.channels_last)
        lowest, highest = self.settings.levels
        level = torch.randint(lowest, highest + 1, (len(slices),), generator=generator).to(device)
        noise = self.model.noise(torch.randint(2**31, (len(slices),), generator=generator).tolist(), slices)
        seen, where = corrupt(slices, self.settings.anomalies.share, generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            estimate = self.model(seen, level, noise)
        weight = 1 + self.settings.anomalies.weight * where
        loss = 2 * (weight * (estimate - slices).abs()).mean()
        self._update(loss)
        self.step += 1
        return loss.item()

    def _update(self, loss: torch.Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()
        self.average.update_parameters(self.model)

    def learning_rate(self) -> float:
        """Linear warm-up, then half a cosine down to 2 % of the peak."""
        settings = self.settings
        warm = min(1.0, (self.step + 1) / settings.warm_up)
        return settings.learning_rate * warm * (0.51 + 0.49 * math.cos(math.pi * self.step / self.steps))
