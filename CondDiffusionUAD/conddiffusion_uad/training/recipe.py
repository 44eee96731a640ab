"""A recipe: one TOML file that says everything about how a bundle is trained."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from conddiffusion_uad.bundle import config
from conddiffusion_uad.bundle.config import BundleConfig
from conddiffusion_uad.method.condition.encoder import Encoder
from conddiffusion_uad.method.parts import KIND, Particular, require_known
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training import table
from conddiffusion_uad.training.data.source import Source
from conddiffusion_uad.training.objectives.diffused_anomalies import DiffusedAnomalies
from conddiffusion_uad.training.objectives.variance_aware import VarianceAware
from conddiffusion_uad.training.settings import (
    LearningSettings,
    LesionSettings,
    PretrainSettings,
    SamplingSettings,
    ValidationSettings,
    read_fit,
    read_lesions,
    read_pretrain,
)
from conddiffusion_uad.training.table import Table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHIPPED = Path(__file__).parent / "recipes"
BASE = "based_on"  # key of a recipe that says only in what it differs from a shipped one
_KEYS = ("name", "seed", "encoder", "lesions", "pretrain", "fit", "sampling", "validation", "source")


@dataclass(frozen=True)
class Recipe(Table):
    """Everything that decides a training.

    Attributes:
        name: Name of the bundle.
        seed: Of all randomness.
        bundle: Grid, network and method of the bundle.
        pretrain: How the encoder is pre-trained, if it is.
        fit: What to learn, how long and how fast.
        sampling: How batches are drawn.
        validation: The loss on held-out slices.
        sources: Where the data come from.
        encoder: File of pre-trained weights that the encoder starts from, if any.
        lesions: How a lesion diffusion learns, if the recipe says that.
        text: The recipe as it was written.
    """

    name: str
    seed: int
    bundle: BundleConfig
    pretrain: PretrainSettings
    fit: LearningSettings
    sampling: SamplingSettings
    validation: ValidationSettings
    sources: tuple[Source, ...]
    encoder: Path | None
    lesions: LesionSettings | None
    text: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name or not 0 <= self.seed < 2**63:
            raise ValueError("name is not empty, and seed at least 0")
        if self.sampling.order == "epochs" and any(source.kind != "scans" for source in self.sources):
            raise ValueError("only scans can be gone through epoch by epoch")


def load(name_or_path: str, assignments: Sequence[str] = ()) -> Recipe:
    """Load a shipped recipe by its name, or the one at a path.

    Args:
        assignments: Values that are changed, see :func:`override`; the recipe's text then has them.

    Raises:
        BadInput: ``recipe_not_found`` or ``bad_recipe``.
    """
    path = next((p for p in (SHIPPED / f"{name_or_path}.toml", Path(name_or_path)) if p.is_file()), None)
    if path is None:
        shipped = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.toml")))
        raise BadInput("recipe_not_found", f"There is no recipe {name_or_path!r}.", f"Shipped recipes: {shipped}.")
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
        if BASE in values or assignments:
            values = _with_base(values)
            override(values, assignments)
            text = tomli_w.dumps(values)
        return parse(values, text, path.parent)
    except KeyError as error:
        raise _bad(path, f"it lacks {error.args[0]}") from error
    except (OSError, TypeError, ValueError) as error:
        raise _bad(path, str(error)) from error


def _with_base(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a recipe with those that it has from the shipped one that it is based on, if it is on one.

    Tables are merged key by key; one that names a kind takes the place of the other, for it describes another part.
    """
    if BASE not in values:
        return values
    base = SHIPPED / f"{Path(str(values[BASE])).name}.toml"
    if not base.is_file():
        raise ValueError(f"{BASE} cannot be {values[BASE]!r}: it is the name of a shipped recipe")
    own = {key: value for key, value in values.items() if key != BASE}
    return _merged(_with_base(tomllib.loads(base.read_text(encoding="utf-8"))), own)


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    def value(key: str) -> Any:
        tables = isinstance(base.get(key), Mapping) and isinstance(own[key], Mapping)
        return _merged(base[key], own[key]) if tables and KIND not in own[key] else own[key]

    return {**base, **{key: value(key) for key in own}}


def override(values: dict[str, Any], assignments: Sequence[str]) -> None:
    """Change values of a recipe in place.

    Args:
        values: The recipe's TOML values.
        assignments: Such as ``fit.betas=[0.9,0.99]`` or ``source.0.weight=0.5``: keys and positions that lead to the
            value, and the value as JSON, or as it stands when it is none.

    Raises:
        ValueError: An assignment has no ``=`` or leads nowhere.
    """
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        *parents, last = path.strip().split(".")
        try:
            place: Any = values
            for key in parents:
                place = place[_step(place, key)]
            if not equals:
                raise KeyError(path)
            place[_step(place, last)] = _value(text.strip())
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"--set {assignment} leads nowhere") from error


def _step(place: Any, key: str) -> str | int:
    return int(key) if isinstance(place, list) and key.isdecimal() else key


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _require_same_noise(fit: LearningSettings, bundle: BundleConfig) -> None:
    """Raise ValueError unless the network is trained for what the method asks of it."""
    learned, asked = (getattr(part, "noised", "everywhere") for part in (fit.objective, bundle.method.restore))
    if learned != asked:
        raise ValueError(
            f"its objective teaches to restore slices that are noised {learned}, but restore gives the network slices "
            f"that are noised {asked}"
        )


def _bad(path: Path, why: str) -> BadInput:
    return BadInput("bad_recipe", f"The recipe {path.name} cannot be used: {why}.", "Compare it with a shipped recipe.")


def parse(values: Mapping[str, Any], text: str = "", folder: Path = Path()) -> Recipe:
    """The recipe from its TOML values.

    Raises:
        KeyError, TypeError or ValueError: Something is missing, unknown or wrong.
    """
    of_bundle = [key for key in (*config.KEYS, *config.format_1.KEYS) if key != "format"]
    require_known(values, [*of_bundle, *_KEYS], "the recipe")
    bundle = BundleConfig.from_recipe(values)
    fit = read_fit(values["fit"])
    if isinstance(fit.objective, DiffusedAnomalies):
        fit = replace(fit, objective=fit.objective.beside(folder))
    _require_same_noise(fit, bundle)
    if isinstance(fit.objective, Particular):
        fit.objective.require(bundle.method)
    sources = tuple(table.read(Source, source, f"source.{n}") for n, source in enumerate(_sources(values)))
    if isinstance(fit.objective, VarianceAware):
        fit.objective.require_sources(sum(source.weight > 0 for source in sources))
    if isinstance(bundle.method.condition, Encoder):
        bundle.method.condition.require_slices(*bundle.grid.size[1::-1], batch=fit.batch)
    encoder = values.get("encoder", "")
    if not isinstance(encoder, str):
        raise ValueError(f"encoder cannot be {encoder!r}: it is a text")
    usual = {"timesteps": bundle.timesteps}
    return Recipe(
        name=values["name"],
        seed=values["seed"],
        bundle=bundle,
        pretrain=read_pretrain(values.get("pretrain", {}), fit),
        fit=fit,
        sampling=table.read(SamplingSettings, values.get("sampling", {}), "sampling"),
        validation=table.read(ValidationSettings, values.get("validation", {}), "validation", usual),
        sources=sources,
        encoder=folder / encoder if encoder else None,
        lesions=read_lesions(values["lesions"]) if "lesions" in values else None,
        text=text,
    )


def _sources(values: Mapping[str, Any]) -> list[Any]:
    found = values["source"]
    if not isinstance(found, list) or not found:
        raise ValueError("source is a list of tables, [[source]]")
    return found
