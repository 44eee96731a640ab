"""A recipe: one TOML file that says everything about how a bundle is trained."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conddiffusion_uad.bundle.config import BundleConfig
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training.data.augmentation import Augmentation
from conddiffusion_uad.training.overrides import override, to_toml
from conddiffusion_uad.training.synthetic_anomalies.anomalies import AnomalySettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHIPPED = Path(__file__).parent / "recipes"
KINDS = ("labels", "scans", "slices")
ORDERS = ("mixture", "epochs")
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("bf16", "fp32")
KEPT = ("last", "best")


@dataclass(frozen=True)
class Source:
    """Where training data come from.

    Attributes:
        kind: "labels" (FreeSurfer label maps of healthy heads), "scans" (volumes of healthy heads) or "slices"
            (an .npz archive with an array ``image`` of skull-stripped axial slices, and optionally ``bright``, a
            measure of how much they deviate from health).
        files: Pattern below the data folder.
        weight: Share of the samples, relative to the other sources; with 0 all of it is held out.
        held_out: How many subjects, or single slices, are kept for validation and calibration and never trained on;
            below 1, their share.
        test: The same for those that nothing here looks at.
        shuffle: Whether to choose those by a hash of the subjects' names rather than to take the last ones.
        contrast: Of scans and slices.
        spacing: In-plane spacing of slices in mm.
        cleanest: Share of the slices with the lowest ``bright`` that is used.
        skip_cleanest: Share of the slices with the lowest ``bright`` that is left out.
        skull: Whether the slices still show the skull; of T2-weighted ones the brain is then cut out.
        turns: Quarter turns, counterclockwise, that bring the forehead of the slices to the top.
    """

    kind: str
    files: str
    weight: float
    held_out: float
    contrast: str = ""
    spacing: float = 1.0
    cleanest: float = 1.0
    test: float = 0
    shuffle: bool = False
    skull: bool = False
    turns: int = 0
    skip_cleanest: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS or (self.kind != "labels" and self.contrast not in CONTRASTS):
            raise ValueError(f"a source is one of {KINDS}; scans and slices have a contrast of {CONTRASTS}")
        if self.skull and (self.kind, self.contrast) != ("slices", "T2"):
            raise ValueError("skull = true is for T2-weighted slices; the skull of scans is always seen to")


@dataclass(frozen=True, kw_only=True)
class Duration:
    """How long to learn; either is 0.

    Attributes:
        samples: Slices seen in all.
        epochs: How often every scan is seen.
    """

    samples: int = 0
    epochs: int = 0

    def __post_init__(self) -> None:
        if (self.samples > 0) == (self.epochs > 0):
            raise ValueError("either samples or epochs say how long to learn")

    def steps(self, batch: int, per_epoch: int) -> int:
        """Steps in all, with ``per_epoch`` of them in an epoch."""
        return self.epochs * per_epoch or math.ceil(self.samples / batch)


@dataclass(frozen=True, kw_only=True)
class FitSettings(Duration):
    """How long and how fast to learn.

    Attributes:
        batch: Slices in a step, of all processes together.
        learning_rate: The constant one, or the peak of the cosine schedule.
        schedule: "cosine" or "constant".
        warm_up: Steps of linear increase before it.
        weight_decay: Of AdamW; without it, that is Adam.
        ema: Decay of the running mean of the weights that is kept in the end; 0 keeps the last weights.
        clip: Largest norm of the gradient.
        precision: "bf16" or "fp32".
        levels: Lowest and highest noise level that is trained on, 1..1000; each in between is as likely.
        one_noise: Whether all slices of a batch get the same noise field, as in the published training.
        anomalies: Made-up anomalies in the slices that the model sees.
    """

    batch: int
    learning_rate: float
    schedule: str = "cosine"
    warm_up: int = 0
    weight_decay: float = 0.01
    ema: float = 0.0
    clip: float = math.inf
    precision: str
    levels: tuple[int, int]
    one_noise: bool = False
    anomalies: AnomalySettings = field(default_factory=lambda: AnomalySettings(0.0, 0.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule not in SCHEDULES or self.precision not in PRECISIONS:
            raise ValueError(f"fit: schedule is one of {SCHEDULES}, precision one of {PRECISIONS}")

    @classmethod
    def from_toml(cls, values: Mapping[str, Any]) -> FitSettings:
        """Raises KeyError, TypeError or ValueError."""
        lowest, highest = values["levels"]
        made_up = {"anomalies": AnomalySettings(**values["anomalies"])} if "anomalies" in values else {}
        return cls(**{**values, "levels": (lowest, highest), **made_up})


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(Duration):
    """How the encoder learns to guess masked patches; the defaults are those of the published model.

    Attributes:
        batch: Slices in a step, of all processes together.
        precision: "bf16" or "fp32".
        learning_rate: Constant.
        weight_decay: Of AdamW.
        betas: Of AdamW.
        masked: Share of the patches that are masked.
        width: Channels of the decoder at its coarsest scale, a multiple of 32.
    """

    batch: int
    precision: str
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    masked: float = 0.65
    width: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width <= 0 or self.width % 32 or not 0 < self.masked < 1 or self.precision not in PRECISIONS:
            raise ValueError("pretrain: width is a multiple of 32, and masked a share between 0 and 1")

    @classmethod
    def from_toml(cls, values: Mapping[str, Any], fit: FitSettings) -> PretrainSettings:
        """The settings, with those of the fit where nothing else is said. Raises TypeError or ValueError."""
        first, second = values.get("betas", cls.betas)
        long = {} if {"samples", "epochs"} & set(values) else {"samples": fit.samples, "epochs": fit.epochs}
        shared = {"batch": fit.batch, "precision": fit.precision, **long}
        return cls(**{**shared, **values, "betas": (first, second)})


@dataclass(frozen=True)
class SamplingSettings:
    """How batches are drawn.

    Attributes:
        order: "mixture" (sources by their weights, synthesized and augmented without end) or "epochs" (every scan once
            an epoch, one random slice of it; of scans alone).
        augmentation: Of scans that are gone through epoch by epoch.
        ghosting: Share of the slices synthesized from label maps that get ghosts.
    """

    order: str = "mixture"
    ghosting: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.order not in ORDERS or not 0 <= self.ghosting <= 1:
            raise ValueError(f"sampling: order is one of {ORDERS}, ghosting a share")

    @classmethod
    def from_toml(cls, values: Mapping[str, Any]) -> SamplingSettings:
        """Raises TypeError or ValueError."""
        return cls(**{**values, "augmentation": Augmentation(**values.get("augmentation", {}))})


@dataclass(frozen=True)
class ValidationSettings:
    """The loss on held-out slices, always the same ones at the same levels under the same noise.

    Attributes:
        every: Steps between two validations; 0 for none.
        slices: How many.
        levels: Noise levels of each slice; by default those that the bundle averages over.
        keep: Which weights become the bundle's: the "last", or the "best" by this loss.
    """

    every: int
    slices: int
    levels: tuple[int, ...]
    keep: str

    def __post_init__(self) -> None:
        if self.keep not in KEPT or self.slices < 1 or (self.keep == "best" and not self.every):
            raise ValueError(f"validation: keep is one of {KEPT}, slices at least 1, and the best needs validations")

    @classmethod
    def from_toml(cls, values: Mapping[str, Any], levels: Sequence[int]) -> ValidationSettings:
        """Raises TypeError or ValueError."""
        defaults = {"every": 1000, "slices": 32, "levels": levels, "keep": "last"}
        merged = {**defaults, **values}
        return cls(**{**merged, "levels": tuple(merged["levels"])})


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training.

    Attributes:
        name: Name of the bundle.
        seed: Of all randomness.
        bundle: Grid, model, levels and residual rules of the bundle.
        pretrain: How the encoder is pre-trained, if it is.
        fit: How long and how fast to learn.
        sampling: How batches are drawn.
        validation: The loss on held-out slices.
        sources: Where the data come from.
        encoder: File of pre-trained weights that the encoder starts from, if any.
        text: The recipe as it was written.
    """

    name: str
    seed: int
    bundle: BundleConfig
    pretrain: PretrainSettings
    fit: FitSettings
    sampling: SamplingSettings
    validation: ValidationSettings
    sources: tuple[Source, ...]
    encoder: Path | None
    text: str


def load(name_or_path: str, assignments: Sequence[str] = ()) -> Recipe:
    """Load a shipped recipe by its name, or the one at a path.

    Args:
        name_or_path: Of the recipe.
        assignments: Values that are changed, see :func:`override`; the recipe's text then has them.

    Raises:
        BadInput: ``recipe_not_found`` or ``bad_recipe``.
    """
    path = next((p for p in (SHIPPED / f"{name_or_path}.toml", Path(name_or_path)) if p.is_file()), None)
    if path is None:
        shipped = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.toml")))
        raise BadInput("recipe_not_found", f"There is no recipe {name_or_path!r}.", f"Shipped recipes: {shipped}.")
    text = path.read_text(encoding="utf-8")
    try:
        values = tomllib.loads(text)
        if assignments:
            override(values, assignments)
            text = to_toml(values)
        return parse(values, text, path.parent)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            "bad_recipe", f"The recipe {path.name} cannot be used: {error}.", "Compare it with a shipped recipe."
        ) from error


def parse(values: Mapping[str, Any], text: str = "", folder: Path = Path()) -> Recipe:
    """The recipe from its TOML values.

    Args:
        values: What the TOML says.
        text: The TOML itself.
        folder: What relative paths in it start from.

    Raises:
        KeyError, TypeError or ValueError: When something is missing or wrong.
    """
    fit = FitSettings.from_toml(values["fit"])
    bundle = BundleConfig.from_recipe(values)
    recipe = Recipe(
        name=values["name"],
        seed=values["seed"],
        bundle=bundle,
        pretrain=PretrainSettings.from_toml(values.get("pretrain", {}), fit),
        fit=fit,
        sampling=SamplingSettings.from_toml(values.get("sampling", {})),
        validation=ValidationSettings.from_toml(values.get("validation", {}), bundle.timesteps),
        sources=tuple(Source(**source) for source in values["source"]),
        encoder=folder / values["encoder"] if "encoder" in values else None,
        text=text,
    )
    if recipe.sampling.order == "epochs" and any(source.kind != "scans" for source in recipe.sources):
        raise ValueError("only scans can be gone through epoch by epoch")
    return recipe
