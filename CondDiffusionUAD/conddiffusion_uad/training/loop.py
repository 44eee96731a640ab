"""Training step by step, in a way that can be stopped, or killed, and resumed exactly."""

from __future__ import annotations

import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch

from conddiffusion_uad.protocol.failures import BadInput, Cancelled, OutputFailure
from conddiffusion_uad.training.data.batches import Ahead, Batches
from conddiffusion_uad.training.distributed import Processes
from conddiffusion_uad.training.progress import Status, TrainingLog

CHECKPOINT_SECONDS = 300.0
_LOSSES = 50  # of the last steps, that the shown loss is the mean of
_AHEAD = 4  # threads at most that prepare steps to come

Example = TypeVar("Example")


class Stateful(Protocol):
    """A network, an optimizer: what a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclass(frozen=True)
class Plan:
    """How a training goes on from step to step.

    Attributes:
        batches: What it learns from.
        steps: In all.
        seed: Of all randomness.
        identity: All else that decides it; a checkpoint of another training is refused.
        processes: That share it.
    """

    batches: Batches
    steps: int
    seed: int
    identity: str
    processes: Processes


class Training(ABC, Generic[Example]):
    """Steps that each draw randomness of their own, so that a resumed training is the uninterrupted one.

    Everything random is prepared before a step, and with a graphics card while the steps before it are computed.

    Args:
        parts: All that changes from step to step, by name.
        plan: How it goes on.
        device: Where it computes.
    """

    def __init__(self, parts: Mapping[str, Stateful], plan: Plan, device: torch.device) -> None:
        self.step = 0
        self.steps = plan.steps
        self.device = device
        self._parts = parts
        self._plan = plan
        self._processes = plan.processes
        self.waited = 0.0  # seconds, for what is to be learned from
        cores = (os.cpu_count() or 1) // plan.processes.count
        threads = 0 if device.type == "cpu" else min(_AHEAD, max(cores, 1))
        self._ahead = Ahead(self._draw, threads, self.steps)

    @abstractmethod
    def prepare(self, slices: torch.Tensor, generator: torch.Generator) -> Example:
        """What this process learns from, of a batch (B, 1, H, W); takes all randomness from the generator."""

    @abstractmethod
    def learn(self, example: Example) -> float:
        """Learn from what was prepared and return the loss."""

    def after_step(self, log: TrainingLog) -> None:
        """Called after every step of a run."""

    def advance(self) -> float:
        """Take one step and return its loss."""
        began = time.perf_counter()
        example = self._ahead(self.step)
        self.waited += time.perf_counter() - began
        loss = self.learn(example)
        self.step += 1
        return loss

    def run(self, checkpoint: Path, log: TrainingLog, every: float = CHECKPOINT_SECONDS) -> None:
        """Train to the end; resumes from the checkpoint if there is one.

        Args:
            checkpoint: Its file.
            log: Told how far it is.
            every: Seconds between two checkpoints.

        Raises:
            BadInput: ``other_checkpoint``.
            Cancelled: After an interrupt (SIGINT, SIGTERM) and a last checkpoint.
        """
        if checkpoint.is_file():
            self.restore(checkpoint)
            log(f"Resuming at step {self.step} of {self.steps}")
        meter, saved = _Meter(self.step, self._plan, self.waited), time.monotonic()
        with _noticed_interrupt() as interrupted:
            while self.step < self.steps:
                loss = self.advance()
                log.status(meter.status(self.step, loss, self.waited))
                self.after_step(log)
                finished = self.step == self.steps
                if finished or interrupted.is_set() or time.monotonic() - saved > every:
                    self.store(checkpoint)
                    saved = time.monotonic()
                if interrupted.is_set() and not finished:
                    raise Cancelled(message=f"Stopped at step {self.step}; the same command goes on from there.")

    def _draw(self, step: int) -> Example:
        """What is learned from in a step."""
        state = np.random.SeedSequence([self._plan.seed, step]).generate_state(1)
        generator = torch.Generator().manual_seed(int(state[0]))
        slices = self._plan.batches.at(step, generator).to(memory_format=torch.channels_last)
        return self.prepare(slices, generator)

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


@contextmanager
def _noticed_interrupt() -> Iterator[threading.Event]:
    """Meanwhile a first SIGINT or SIGTERM only sets the event; a second one acts as ever."""
    noticed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noticed
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    earlier = {number: signal.getsignal(number) for number in numbers}

    def notice(*_: object) -> None:
        noticed.set()
        restore()

    def restore() -> None:
        for number in numbers:
            signal.signal(number, earlier[number])

    for number in numbers:
        signal.signal(number, notice)
    try:
        yield noticed
    finally:
        restore()
