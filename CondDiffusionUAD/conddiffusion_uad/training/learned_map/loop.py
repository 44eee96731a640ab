"""Train the learned anomaly map: endless synthetic slices, checkpoints, a learning curve; stop and go on at will."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from conddiffusion_uad.method.anomaly_map.learned_inputs import COARSE_CHANNELS, FINE_CHANNELS
from conddiffusion_uad.method.anomaly_map.learned_network import LearnedMapNetwork
from conddiffusion_uad.model.cddpm import ConditionedDiffusion
from conddiffusion_uad.training import weights_file
from conddiffusion_uad.training.learned_map import curve
from conddiffusion_uad.training.learned_map.balance import suspected
from conddiffusion_uad.training.learned_map.batches import Batch, Batches
from conddiffusion_uad.training.learned_map.reconstructions import Reconstructed

CHECKPOINT = "checkpoint.pt"
_FAR = 2**31  # steps: without end


@dataclass(frozen=True)
class Settings:
    """How the map is trained.

    Attributes:
        seed: Of all randomness.
        learning_rate: After the warm-up.
        warm_up: Steps.
        cool_down: (step, steps): from which step the rate falls to zero within how many; None for not yet.
        weight_decay: Of AdamW.
        clip: Largest norm of the gradient.
        ema: Weight of the past in the running mean of the weights.
        reconstructed: Every how many-th batch comes with reconstructions; 0 for none.
        bf16: Whether convolutions compute in bfloat16.
        false_findings: Whether false findings count as much as anomalies in the loss.
    """

    seed: int = 1
    learning_rate: float = 2e-3
    warm_up: int = 100
    cool_down: tuple[int, int] | None = None
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.997
    reconstructed: int = 3
    bf16: bool = True
    false_findings: bool = True

    def rate(self, step: int, start: int = 0) -> float:
        """Learning rate of a step of a training whose optimizer was new at step ``start``."""
        rate = self.learning_rate * min(1.0, (step - start + 1) / self.warm_up)
        if self.cool_down is not None and step >= self.cool_down[0]:
            rate *= max(0.0, 1 - (step - self.cool_down[0] + 1) / self.cool_down[1])
        return rate


@dataclass(frozen=True)
class Keeping:
    """What a training leaves on the disk beside its learning curve, now and then and at its end.

    Attributes:
        every: Seconds between.
        exported: File for :meth:`Training.export`; None for none.
        light: Whether the checkpoint is one of 15 MB instead of 23, see :func:`lightened`.
    """

    every: float = 180.0
    exported: Path | None = None
    light: bool = False


def network() -> LearnedMapNetwork:
    """The untrained network."""
    return LearnedMapNetwork(FINE_CHANNELS, COARSE_CHANNELS)


def loss(logits: torch.Tensor, batch: Batch, false_findings: bool = True) -> torch.Tensor:
    """Cross-entropy inside the brain in which lesions and false findings count alike, mean over what voxels weigh.

    Without ``false_findings`` each voxel of a healthy place counts 1.

    There is no Dice in it: its gradient vanishes where the network is sure of health, and that is where it stands with
    the small lesions that it has to learn yet.
    """
    counts = batch.weight * batch.balance
    if false_findings:
        counts = counts * suspected(logits, batch.spared, batch.inputs.brain)
    entropy = functional.binary_cross_entropy_with_logits(logits, batch.label, counts, reduction="sum")
    return entropy / batch.weight.sum().clamp(min=1)


class Training:
    """A training that can be stopped after any step and goes on as if it had not been.

    Args:
        folder: For the checkpoint and the learning curve; made if needed.
        denoiser: Frozen, on the device; None to train without reconstructions.
        workers: Processes that make batches beside the training, with their reconstructions but for a graphics
            card; 0 makes them in between, where the batches' own device is. The batches are the same.
    """

    def __init__(
        self,
        batches: Batches,
        settings: Settings,
        folder: Path,
        denoiser: ConditionedDiffusion | None = None,
        device: torch.device | str = "cpu",
        workers: int = 0,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.folder, self.step = settings, folder, 0
        self._warm_from = 0
        self._warmth = 1.0  # factor on the rate
        self.stopped = False  # set it, from a signal handler, to end after the step in progress
        self._batches = batches
        self._reconstructed = Reconstructed(batches, denoiser, settings.reconstructed)
        self._device, self._workers = torch.device(device), workers
        self.model, self.mean = network().to(device), network().to(device)
        self.mean.load_state_dict(self.model.state_dict())
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        folder.mkdir(parents=True, exist_ok=True)

    def run(
        self,
        seconds: float = math.inf,
        last: float = math.inf,
        keeping: Keeping = Keeping(),
        report: int = 20,
        cooling: float = 0.0,
    ) -> None:
        """Train until the time is over or step ``last`` is reached.

        Args:
            seconds: Wall time.
            keeping: What is kept.
            report: Steps of which the curve has the mean loss.
            cooling: The last of ``seconds``, in which the rate falls to zero.
        """
        start = kept = time.monotonic()
        recent: list[float] = []
        batches = self._endless()
        while not self.stopped and self.step < last and (left := seconds - (time.monotonic() - start)) > 0:
            self._warmth = min(1.0, left / cooling) if cooling else 1.0
            recent.append(self.advance(next(batches)))
            if self.step % report == 0:
                self._note(recent)
                recent = []
            if time.monotonic() - kept > keeping.every:
                self._keep(keeping)
                kept = time.monotonic()
        if recent:
            self._note(recent)
        self._keep(keeping)

    def _keep(self, keeping: Keeping) -> None:
        self.save(keeping.light)
        if keeping.exported is not None:
            self.export(keeping.exported)
        curve.draw(self.folder)

    def _rate(self) -> float:
        return self._warmth * self.settings.rate(self.step, self._warm_from)

    def _endless(self) -> Iterator[Batch]:
        """From the next step on, the batch of each step, on the device; a graphics card reconstructs by itself."""
        numbers = range(self.step, self.step + _FAR)
        card = self._device.type != "cpu"
        source = self._batches if card else self._reconstructed
        loader = DataLoader(source, batch_size=None, sampler=numbers, num_workers=self._workers)
        for number, batch in zip(numbers, loader, strict=True):
            yield self._reconstructed.completed(batch.to(self._device), number) if card else batch

    def advance(self, batch: Batch) -> float:
        """One step with a batch on the device; its loss."""
        settings = self.settings
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=settings.bf16):
            logits = self.model(batch.inputs.fine, batch.inputs.coarse)
        value = loss(logits, batch, settings.false_findings)
        self._optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        self._optimizer.step()
        self.step += 1
        self._average()
        return float(value.detach())

    @torch.no_grad()
    def _average(self) -> None:
        seen = self.step - self._warm_from
        past = min(self.settings.ema, seen / (seen + 10))
        for mean, current in zip(self.mean.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(current, 1 - past)

    def _note(self, losses: list[float]) -> None:
        line = {
            "step": self.step,
            "loss": round(sum(losses) / len(losses), 4),
            "rate": self._rate(),
            "time": round(time.time()),
        }
        with (self.folder / curve.CURVE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def save(self, light: bool = False) -> None:
        """Write the checkpoint, as it is or :func:`lightened`; the old one stays until the new one is whole."""
        state: dict[str, Any] = {
            "step": self.step,
            "warm_from": self._warm_from,
            "settings": asdict(self.settings),
            "model": self.model.state_dict(),
            "mean": self.mean.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "priors": self._batches.priors,
        }
        partial = self.folder / (CHECKPOINT + ".partial")
        torch.save(lightened(state) if light else state, partial)
        partial.replace(self.folder / CHECKPOINT)

    def export(self, file: Path) -> None:
        """Write the running mean of the weights and the priors, in half precision: all that a detection needs."""
        state = self.mean.state_dict()
        weights = {f"network.{key}": value.half() for key, value in state.items()}
        weights_file.write(file, {**weights, "priors": self._batches.priors.half()}, "step", self.step)

    def start_from(self, file: Path) -> None:
        """Start from weights that :meth:`export` wrote, at their step, with a fresh optimizer that warms up again."""
        stored, step, _ = weights_file.read(file, "step")
        weights = {k.removeprefix("network."): value.float() for k, value in stored.items() if k != "priors"}
        self.model.load_state_dict(weights)
        self.mean.load_state_dict(weights)
        self.step = self._warm_from = int(step or 0)

    def resume(self) -> bool:
        """Go on from the folder's checkpoint; False when there is none. Its settings do not override the given ones."""
        file = self.folder / CHECKPOINT
        if not file.is_file():
            return False
        state = torch.load(file, map_location=self._device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.mean.load_state_dict(state["mean"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self._warm_from = state["step"], state.get("warm_from", 0)
        return True


def lightened(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint with the running mean and the moments of the optimizer in half precision.

    A training goes on from it with the weights that it had, and nearly as it would have.
    """
    optimizer = state["optimizer"]
    moments = {
        number: {name: value if name == "step" else value.bfloat16() for name, value in each.items()}
        for number, each in optimizer["state"].items()
    }
    mean = {name: value.half() for name, value in state["mean"].items()}
    return {**state, "mean": mean, "optimizer": {**optimizer, "state": moments}}
