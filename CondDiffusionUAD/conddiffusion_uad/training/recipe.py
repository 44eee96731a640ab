"""A recipe: one TOML file that says everything about how a bundle is trained."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conddiffusion_uad.model.bundle import BundleConfig
from conddiffusion_uad.protocol import CONTRASTS, BadInput

from .anomalies import AnomalySettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHIPPED = Path(__file__).parent / "recipes"
KINDS = ("labels", "scans", "slices")


@dataclass(frozen=True)
class Source:
    """Where training data come from.

    Attributes:
        kind: "labels" (FreeSurfer label maps of healthy heads), "scans" (volumes of healthy heads) or "slices"
            (an .npz archive with an array ``image`` of skull-stripped axial slices, and optionally ``bright``, a
            measure of how much they deviate from health).
        files: Pattern below the data folder.
        weight: Share of the samples, relative to the other sources.
        held_out: How many of the last scans or slices are kept for calibration and never trained on.
        contrast: Of scans and slices.
        spacing: In-plane spacing of slices in mm.
        cleanest: Share of the slices with the lowest ``bright`` that is used.
    """

    kind: str
    files: str
    weight: float
    held_out: int
    contrast: str = ""
    spacing: float = 1.0
    cleanest: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS or (self.kind != "labels" and self.contrast not in CONTRASTS):
            raise ValueError(f"a source is one of {KINDS}; scans and slices have a contrast of {CONTRASTS}")


@dataclass(frozen=True)
class FitSettings:
    """How long and how fast to learn.

    Attributes:
        samples: Slices seen in all.
        batch: Slices in a step.
        learning_rate: Peak of the cosine schedule.
        warm_up: Steps of linear increase before it.
        ema: Decay of the running mean of the weights that is kept in the end.
        clip: Largest norm of the gradient.
        precision: "bf16" or "fp32".
        levels: Lowest and highest noise level that is trained on, 1..1000; each in between is as likely.
        anomalies: Made-up anomalies in the slices that the model sees.
    """

    samples: int
    batch: int
    learning_rate: float
    warm_up: int
    ema: float
    clip: float
    precision: str
    levels: tuple[int, int]
    anomalies: AnomalySettings

    @classmethod
    def from_toml(cls, values: Mapping[str, Any]) -> FitSettings:
        """Raises KeyError, TypeError or ValueError."""
        lowest, highest = values["levels"]
        return cls(**{**values, "levels": (lowest, highest), "anomalies": AnomalySettings(**values["anomalies"])})


@dataclass(frozen=True)
class PretrainSettings:
    """How the encoder learns to guess masked patches; all but the first three are those of the published model.

    Attributes:
        samples: Slices seen in all.
        batch: Slices in a step.
        precision: "bf16" or "fp32".
        learning_rate: Constant.
        weight_decay: Of AdamW.
        betas: Of AdamW.
        masked: Share of the patches that are masked.
        width: Channels of the decoder at its coarsest scale, a multiple of 32.
    """

    samples: int
    batch: int
    precision: str
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    masked: float = 0.65
    width: int = 512

    def __post_init__(self) -> None:
        if self.width <= 0 or self.width % 32 or not 0 < self.masked < 1:
            raise ValueError("pretrain: width is a multiple of 32, and masked a share between 0 and 1")

    @classmethod
    def from_toml(cls, values: Mapping[str, Any], fit: FitSettings) -> PretrainSettings:
        """The settings, with those of the fit where nothing else is said. Raises TypeError or ValueError."""
        first, second = values.get("betas", cls.betas)
        shared = {"samples": fit.samples, "batch": fit.batch, "precision": fit.precision}
        return cls(**{**shared, **values, "betas": (first, second)})


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training.

    Attributes:
        name: Name of the bundle.
        seed: Of all randomness.
        bundle: Grid, model, levels and residual rules of the bundle.
        pretrain: How the encoder is pre-trained, if it is.
        fit: How long and how fast to learn.
        sources: Where the data come from.
        encoder: File of pre-trained weights that the encoder starts from, if any.
        text: The recipe as it was written.
    """

    name: str
    seed: int
    bundle: BundleConfig
    pretrain: PretrainSettings
    fit: FitSettings
    sources: tuple[Source, ...]
    encoder: Path | None
    text: str


def load(name_or_path: str) -> Recipe:
    """Load a shipped recipe by its name, or the one at a path.

    Raises:
        BadInput: ``recipe_not_found`` or ``bad_recipe``.
    """
    path = next((p for p in (SHIPPED / f"{name_or_path}.toml", Path(name_or_path)) if p.is_file()), None)
    if path is None:
        shipped = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.toml")))
        raise BadInput("recipe_not_found", f"There is no recipe {name_or_path!r}.", f"Shipped recipes: {shipped}.")
    text = path.read_text(encoding="utf-8")
    try:
        return parse(tomllib.loads(text), text, path.parent)
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
    return Recipe(
        name=values["name"],
        seed=values["seed"],
        bundle=BundleConfig.from_json(values),
        pretrain=PretrainSettings.from_toml(values.get("pretrain", {}), fit),
        fit=fit,
        sources=tuple(Source(**source) for source in values["source"]),
        encoder=folder / values["encoder"] if "encoder" in values else None,
        text=text,
    )
