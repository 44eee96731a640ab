"""Training step by step, in a way that can be stopped, or killed, and resumed exactly."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from conddiffusion_uad.protocol import BadInput

CHECKPOINT_SECONDS = 300.0
REPORT_STEPS = 50
Log = Callable[[str], None]


class Stateful(Protocol):
    """A network, an optimizer: what a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class Training(ABC):
    """Steps that each draw randomness of their own, so that a resumed training is the uninterrupted one.

    Args:
        parts: All that changes from step to step, by name.
        identity: What decides the training; a checkpoint of another is refused.
        steps: Steps in all.
        batch: Slices in a step.
        seed: Of all randomness.
    """

    def __init__(self, parts: Mapping[str, Stateful], identity: str, steps: int, batch: int, seed: int) -> None:
        self.step = 0
        self.steps = steps
        self._parts = parts
        self._identity = identity
        self._batch = batch
        self._seed = seed

    @abstractmethod
    def advance(self) -> float:
        """Take one step and return its loss."""

    def run(self, checkpoint: Path, log: Log) -> None:
        """Train to the end; resumes from the checkpoint if there is one."""
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
                    f"{rate * self._batch:.1f} slices/s  {(self.steps - self.step) / rate / 60:.1f} min left"
                )
                losses = []
            if time.monotonic() - saved > CHECKPOINT_SECONDS or self.step == self.steps:
                self.store(checkpoint)
                saved = time.monotonic()

    def randomness(self) -> torch.Generator:
        """The source of randomness of the present step."""
        state = np.random.SeedSequence([self._seed, self.step]).generate_state(1)
        return torch.Generator().manual_seed(int(state[0]))

    def store(self, checkpoint: Path) -> None:
        """Write all that is needed to go on, replacing the checkpoint in one move."""
        partial = checkpoint.with_suffix(".part")
        states = {name: part.state_dict() for name, part in self._parts.items()}
        torch.save({"step": self.step, "settings": self._identity, **states}, partial)
        partial.replace(checkpoint)

    def restore(self, checkpoint: Path) -> None:
        """Go on from a checkpoint. Raises BadInput("other_checkpoint") when it was made with other settings."""
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if state["settings"] != self._identity:
            raise BadInput(
                "other_checkpoint",
                f"{checkpoint} belongs to a training with other settings.",
                "Remove it, or give another --output.",
            )
        self.step = state["step"]
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
