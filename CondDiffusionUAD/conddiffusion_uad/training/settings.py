"""The tables of a recipe that say how a training goes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from conddiffusion_uad.method import parts
from conddiffusion_uad.model.schedule import STEPS
from conddiffusion_uad.training import table
from conddiffusion_uad.training.data.augmentation import Augmentation
from conddiffusion_uad.training.objectives import OBJECTIVES, Objective
from conddiffusion_uad.training.synthetic_anomalies.diffused.learning import AreaWeighted
from conddiffusion_uad.training.synthetic_anomalies.diffused.network import LesionNetwork
from conddiffusion_uad.training.table import Table, require_range

ORDERS = ("mixture", "epochs")
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("bf16", "fp32")
KEPT = ("last", "best")

LearningT = TypeVar("LearningT", bound="LearningSettings")


def require_one_of(value: str, accepted: tuple[str, ...], name: str) -> None:
    """Raise ValueError unless a value is accepted."""
    if value not in accepted:
        raise ValueError(f"{name} cannot be {value!r}: it is one of {', '.join(accepted)}")


@dataclass(frozen=True, kw_only=True)
class LearningSettings(Table):
    """What to learn, how long and how fast; either ``samples`` or ``epochs`` is 0.

    Attributes:
        objective: What to learn.
        samples: Slices seen in all.
        epochs: How often every scan is seen.
        batch: Slices in a step, of all processes together.
        learning_rate: The constant one, or the peak of the cosine schedule.
        precision: "bf16" or "fp32".
        schedule: "cosine" or "constant".
        warm_up: Steps of linear increase before it.
        weight_decay: Of AdamW; without it, that is Adam.
        betas: Of AdamW.
        ema: Decay of the running mean of the weights that is kept in the end; 0 keeps the last weights.
        clip: Largest norm of the gradient.
    """

    objective: Objective
    samples: int = 0
    epochs: int = 0
    batch: int
    learning_rate: float
    precision: str
    schedule: str = "cosine"
    warm_up: int = 0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    ema: float = 0.0
    clip: float = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.samples, self.epochs) < 0 or (self.samples > 0) == (self.epochs > 0):
            raise ValueError("either samples or epochs say how long to learn")
        if self.batch < 1 or self.warm_up < 0:
            raise ValueError("batch is at least 1, warm_up at least 0")
        require_range(self.learning_rate, 0, 1, "learning_rate")
        require_range(self.weight_decay, 0, 1, "weight_decay")
        if not all(0 <= value < 1 for value in (*self.betas, self.ema)) or not self.clip > 0:
            raise ValueError("betas and ema are from 0 to less than 1, clip above 0")
        require_one_of(self.schedule, SCHEDULES, "schedule")
        require_one_of(self.precision, PRECISIONS, "precision")

    def steps(self, per_epoch: int) -> int:
        """Steps in all, with ``per_epoch`` of them in an epoch."""
        return self.epochs * per_epoch or math.ceil(self.samples / self.batch)


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(LearningSettings):
    """How the encoder learns to guess masked patches; the defaults are those of the published model.

    Attributes:
        width: Channels of the decoder at its coarsest scale, a multiple of 32.
    """

    learning_rate: float = 1e-4
    schedule: str = "constant"
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    width: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width <= 0 or self.width % 32:
            raise ValueError("width is a multiple of 32")


@dataclass(frozen=True, kw_only=True)
class LesionSettings(LearningSettings):
    """How a lesion diffusion learns.

    Attributes:
        network: What it is made of.
    """

    network: LesionNetwork


def read_fit(values: Any) -> LearningSettings:
    """The table ``[fit]``. Raises ValueError."""
    return _learning(LearningSettings, values, "fit", pretrains=False)


def read_pretrain(values: Any, fit: LearningSettings) -> PretrainSettings:
    """The table ``[pretrain]``, with the settings of the fit where nothing else is said. Raises ValueError."""
    if not isinstance(values, Mapping):
        raise ValueError("[pretrain] is no table")
    long = {} if {"samples", "epochs"} & set(values) else {"samples": fit.samples, "epochs": fit.epochs}
    shared = {"objective": {"kind": "masked_patches"}, "batch": fit.batch, "precision": fit.precision, **long}
    return _learning(PretrainSettings, {**shared, **values}, "pretrain", pretrains=True)


def read_lesions(values: Any) -> LesionSettings:
    """The table ``[lesions]``. Raises ValueError."""
    if isinstance(values, Mapping) and "objective" in values:
        raise ValueError("[lesions] has an unknown key 'objective': there is one only")
    return table.read(LesionSettings, values, "lesions", {"objective": AreaWeighted()})


def _learning(kind: type[LearningT], values: Any, place: str, *, pretrains: bool) -> LearningT:
    if not isinstance(values, Mapping) or "objective" not in values:
        raise ValueError(f"[{place}] lacks objective")
    objective = parts.read(OBJECTIVES, values["objective"], f"{place}.objective")
    if objective.pretrains != pretrains:
        raise ValueError(f"{place}.objective cannot be {values['objective']['kind']!r}: it trains something else")
    return table.read(kind, {**values, "objective": objective}, place)


@dataclass(frozen=True, kw_only=True)
class SamplingSettings(Table):
    """How batches are drawn.

    Attributes:
        order: "mixture" (sources by their weights, synthesized and augmented without end) or "epochs" (every scan once
            an epoch, one random slice of it; of scans alone).
        augmentation: Of scans that are gone through epoch by epoch.
        ghosting: Share of the scans synthesized from label maps that get ghosts.
    """

    order: str = "mixture"
    ghosting: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of(self.order, ORDERS, "order")
        require_range(self.ghosting, 0, 1, "ghosting")


@dataclass(frozen=True, kw_only=True)
class ValidationSettings(Table):
    """The loss on held-out slices, always the same ones at the same timesteps under the same noise.

    Attributes:
        every: Steps between two validations; 0 for none.
        slices: How many.
        timesteps: Of the noise on each slice.
        keep: Which weights become the bundle's: the "last", or the "best" by this loss.
    """

    timesteps: tuple[int, ...]
    every: int = 1000
    slices: int = 32
    keep: str = "last"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of(self.keep, KEPT, "keep")
        if self.every < 0 or self.slices < 1 or (self.keep == "best" and not self.every):
            raise ValueError("every is at least 0, slices at least 1, and keeping the best needs validations")
        if not self.timesteps or not all(1 <= timestep <= STEPS for timestep in self.timesteps):
            raise ValueError(f"timesteps are some numbers from 1 to {STEPS}")
