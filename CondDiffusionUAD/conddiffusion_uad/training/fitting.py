"""Fitting the model: predict the clean slice from a noisy one, on healthy slices only."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.protocol import BadInput

from .anomalies import corrupt
from .recipe import FitSettings
from .sampling import BatchSampler

CHECKPOINT_SECONDS = 300.0
REPORT_STEPS = 50
Log = Callable[[str], None]


class Fitting:
    """A training that can be stopped and resumed exactly.

    Args:
        model: The network to fit, on its device.
        sampler: Source of batches.
        settings: How long and how fast.
        seed: Of batches, levels and noise; every step has randomness of its own, so a resumed run draws the same.
    """

    def __init__(self, model: ConditionedDiffusion, sampler: BatchSampler, settings: FitSettings, seed: int) -> None:
        self.model = model.to(memory_format=torch.channels_last).train()
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.01)
        self.settings = settings
        self.step = 0
        self._sampler = sampler
        self._seed = seed

    @property
    def steps(self) -> int:
        """Steps in all."""
        return math.ceil(self.settings.samples / self.settings.batch)

    def run(self, checkpoint: Path, log: Log) -> ConditionedDiffusion:
        """Train to the end and return the averaged model; resumes from the checkpoint if there is one."""
        if checkpoint.is_file():
            self.restore(checkpoint)
            log(f"Resuming at step {self.step} of {self.steps}")
        began, first, saved, losses = time.monotonic(), self.step, time.monotonic(), []
        while self.step < self.steps:
            losses.append(self.advance())
            if self.step % REPORT_STEPS == 0 or self.step == self.steps:
                rate = (self.step - first) / (time.monotonic() - began)
                log(
                    f"step {self.step}/{self.steps}  loss {np.mean(losses):.4f}  "
                    f"{rate * self.settings.batch:.1f} slices/s  {(self.steps - self.step) / rate / 60:.1f} min left"
                )
                losses = []
            if time.monotonic() - saved > CHECKPOINT_SECONDS or self.step == self.steps:
                self.store(checkpoint)
                saved = time.monotonic()
        return self.average.module.eval()

    def advance(self) -> float:
        """Take one step and return its loss: the weighted mean absolute error of the estimate of x_0 in [-1, 1].

        The model sees, and is conditioned on, slices with made-up anomalies, and has to give back the healthy ones;
        errors where the anomalies were count more.
        """
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence([self._seed, self.step]).generate_state(1)[0])
        )
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

    def store(self, checkpoint: Path) -> None:
        """Write all that is needed to go on, replacing the checkpoint in one move."""
        parts = {"model": self.model, "average": self.average, "optimizer": self.optimizer}
        partial = checkpoint.with_suffix(".part")
        torch.save(
            {
                "step": self.step,
                "settings": repr(self.settings),
                **{name: part.state_dict() for name, part in parts.items()},
            },
            partial,
        )
        partial.replace(checkpoint)

    def restore(self, checkpoint: Path) -> None:
        """Go on from a checkpoint. Raises BadInput("other_checkpoint") when it was made with other settings."""
        state = torch.load(checkpoint, map_location=next(self.model.parameters()).device, weights_only=True)
        if state["settings"] != repr(self.settings):
            raise BadInput(
                "other_checkpoint",
                f"{checkpoint} belongs to a training with other settings.",
                "Remove it, or give another --output.",
            )
        self.step = state["step"]
        for name, part in (("model", self.model), ("average", self.average), ("optimizer", self.optimizer)):
            part.load_state_dict(state[name])
