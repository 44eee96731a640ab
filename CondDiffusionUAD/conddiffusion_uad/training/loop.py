"""Training step by step, in a way that can be stopped, or killed, and resumed exactly."""

from __future__ import annotations

import copy
import math
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from conddiffusion_uad.model.cddpm import Noise
from conddiffusion_uad.protocol.failures import BadInput, Cancelled, OutputFailure
from conddiffusion_uad.training.data.batches import Ahead, Batches
from conddiffusion_uad.training.distributed import Processes
from conddiffusion_uad.training.interrupt import noticed_interrupt
from conddiffusion_uad.training.progress import Status, TrainingLog
from conddiffusion_uad.training.settings import LearningSettings

CHECKPOINT_SECONDS = 300.0
_LOSSES = 50  # of the last steps, that the shown loss is the mean of
_AHEAD = 4  # threads at most that prepare steps to come

ExampleT = TypeVar("ExampleT")


class Judge(Protocol):
    """What judges a network now and then, such as a :class:`Validation`."""

    @property
    def keeps_best(self) -> bool:
        """Whether the weights that it judges best are the result, rather than the last ones."""

    def due(self, step: int, steps: int) -> bool:
        """Whether it is time, after a step."""

    def loss(self, network: nn.Module) -> float:
        """The lower, the better; the network is left in the mode that it was in."""


@dataclass(frozen=True)
class Plan:
    """How a training goes on from step to step.

    Attributes:
        batches: What it learns from.
        noise: Makes the noise fields of the model.
        steps: In all.
        seed: Of all randomness.
        identity: All else that decides it; a checkpoint of another training is refused.
        processes: That share it.
    """

    batches: Batches
    noise: Noise
    steps: int
    seed: int
    identity: str
    processes: Processes


class Training:
    """A network that learns by an objective.

    Every step draws randomness of its own, so that a resumed training is the uninterrupted one. All that is random is
    prepared before a step, and with a graphics card while the steps before it are computed.

    Args:
        network: To be trained, on its device.
    """

    def __init__(self, network: nn.Module, settings: LearningSettings, plan: Plan, judge: Judge | None = None) -> None:
        self.network = network.to(memory_format=torch.channels_last).train()
        self.settings, self.step, self.steps = settings, 0, plan.steps
        self.optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )
        self.average = (
            AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)
            if settings.ema
            else None
        )
        self.best = Best()
        self.waited = 0.0  # seconds, for what is to be learned from
        self.device = next(network.parameters()).device
        self._plan, self._processes, self._judge = plan, plan.processes, judge
        self._parallel = plan.processes.parallel(self.network)
        cores = (os.cpu_count() or 1) // plan.processes.count
        threads = 0 if self.device.type == "cpu" else min(_AHEAD, max(cores, 1))
        self._ahead = Ahead(self._prepared, threads, self.steps)

    @property
    def learned(self) -> nn.Module:
        """The running mean of the network's weights, or the network itself if none is kept."""
        return self.network if self.average is None else self.average.module

    def result(self) -> nn.Module:
        """What was learned, in evaluation mode: the last weights, or the best ones if the judge keeps them."""
        network = self.learned.eval()
        if self.best.weights:
            network.load_state_dict(self.best.weights)
        return network

    def advance(self) -> float:
        """Take one step and return its loss, the mean over all processes."""
        began = time.perf_counter()
        example = self._ahead(self.step)
        self.waited += time.perf_counter() - began
        loss = self.learn(example)
        self.step += 1
        return loss

    def learn(self, example: Any) -> float:
        """Change the weights by an example, and return its loss, the mean over all processes."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            loss = self.settings.objective.loss(self._parallel, example)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.zero_grad()
        loss.backward()
        if self.settings.clip < math.inf:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return self._processes.mean(loss)

    def learning_rate(self) -> float:
        """Linear warm-up, then constant, or half a cosine down to 2 % of the peak."""
        settings = self.settings
        warm = min(1.0, (self.step + 1) / max(settings.warm_up, 1))
        cosine = 0.51 + 0.49 * math.cos(math.pi * self.step / self.steps)
        return settings.learning_rate * warm * (cosine if settings.schedule == "cosine" else 1.0)

    def run(self, checkpoint: Path, log: TrainingLog, every: float = CHECKPOINT_SECONDS) -> None:
        """Train to the end; resumes from the checkpoint if there is one.

        Raises:
            BadInput: ``other_checkpoint``.
            Cancelled: After an interrupt (SIGINT, SIGTERM) of any process and a last checkpoint.
        """
        if checkpoint.is_file():
            self.restore(checkpoint)
            log(f"Resuming at step {self.step} of {self.steps}")
        meter, saved = _Meter(self.step, self._plan, self.waited), time.monotonic()
        with noticed_interrupt() as interrupted:
            while self.step < self.steps:
                loss = self.advance()
                log.status(meter.status(self.step, loss, self.waited))
                self._judged(log)
                finished = self.step == self.steps
                stopping = self._processes.any(interrupted.is_set(), self.device)
                if finished or stopping or time.monotonic() - saved > every:
                    self.store(checkpoint)
                    saved = time.monotonic()
                if stopping and not finished:
                    raise Cancelled(message=f"Stopped at step {self.step}; the same command goes on from there.")

    def _prepared(self, step: int) -> Any:
        """What this process learns from in a step."""
        state = np.random.SeedSequence([self._plan.seed, step]).generate_state(1)
        generator = torch.Generator().manual_seed(int(state[0]))
        slabs = self._plan.batches.at(step, generator).to(self.device)
        example = self.settings.objective.corrupt(slabs, self._plan.noise, generator)
        return each(self._processes.shard, example)

    def _judged(self, log: TrainingLog) -> None:
        if self._judge is None or not self._judge.due(self.step, self.steps):
            return
        loss = self._judge.loss(self.learned)
        better = loss < self.best.loss
        log.validated(self.step, loss, better)
        if better:
            self.best.replace(loss, self.learned.state_dict() if self._judge.keeps_best else {})

    @property
    def _parts(self) -> dict[str, Any]:
        """All that changes from step to step, each with a ``state_dict`` and a ``load_state_dict``."""
        parts = {"network": self.network, "average": self.average, "optimizer": self.optimizer, "best": self.best}
        return {name: part for name, part in parts.items() if part is not None}

    def store(self, checkpoint: Path) -> None:
        """Write all that is needed to go on, replacing the checkpoint in one move; only the first process does.

        Raises:
            OutputFailure: ``cannot_write``.
        """
        if not self._processes.first:
            return
        partial = checkpoint.with_suffix(".part")
        states = {name: part.state_dict() for name, part in self._parts.items()}
        try:
            with partial.open("wb") as stream:
                torch.save({"step": self.step, "identity": self._plan.identity, **states}, stream)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(checkpoint)
        except (OSError, RuntimeError) as error:  # torch tells of a full disk as a RuntimeError
            raise OutputFailure(
                "cannot_write", f"{checkpoint} cannot be written: {error}.", "Free disk space."
            ) from error

    def restore(self, checkpoint: Path) -> None:
        """Go on from a checkpoint. Raises BadInput("other_checkpoint") when it was made with other settings."""
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if state.get("identity") != self._plan.identity:
            raise BadInput(
                "other_checkpoint",
                f"{checkpoint} belongs to a training with other settings or data.",
                "Remove it, or give another --output.",
            )
        self.step = state["step"]
        for name, part in self._parts.items():
            part.load_state_dict(state[name])


def each(change: Callable[[torch.Tensor], torch.Tensor], example: ExampleT) -> ExampleT:
    """An example, a dataclass of tensors or such dataclasses, with each of its tensors changed."""
    if isinstance(example, torch.Tensor):
        return change(example)
    if not is_dataclass(example):
        raise TypeError(f"an example is made of tensors, not of {type(example).__name__}")
    return type(example)(**{field.name: each(change, getattr(example, field.name)) for field in fields(example)})


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


class _Meter:
    """Measures how fast a run goes."""

    def __init__(self, first: int, plan: Plan, waited: float) -> None:
        self._first, self._began, self._plan, self._waited = first, time.monotonic(), plan, waited
        self._losses: deque[float] = deque(maxlen=_LOSSES)

    def status(self, step: int, loss: float, waited: float) -> Status:
        self._losses.append(loss)
        passed = max(time.monotonic() - self._began, 1e-9)
        steps_per_second = (step - self._first) / passed
        left = (self._plan.steps - step) / steps_per_second
        rate = steps_per_second * self._plan.batches.size
        waiting = (waited - self._waited) / passed
        return Status(step, self._plan.steps, float(np.mean(self._losses)), rate, left, waiting)
