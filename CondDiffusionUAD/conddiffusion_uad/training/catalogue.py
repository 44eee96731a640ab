"""All parts that methods and trainings can have, and the recipes that put them together, each in one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conddiffusion_uad.method.adapt import ADAPTATIONS
from conddiffusion_uad.method.anomaly_map import ANOMALY_MAPS
from conddiffusion_uad.method.condition import CONDITIONS
from conddiffusion_uad.method.context import CONTEXTS
from conddiffusion_uad.method.measures import MEASURES
from conddiffusion_uad.method.noise import NOISES
from conddiffusion_uad.method.restore import RESTORERS
from conddiffusion_uad.training.objectives import OBJECTIVES
from conddiffusion_uad.training.recipe import SHIPPED

PARTS: Mapping[str, Mapping[str, type]] = {
    "context": CONTEXTS,
    "condition": CONDITIONS,
    "noise": NOISES,
    "restore": RESTORERS,
    "anomaly_map": ANOMALY_MAPS,
    "adapt": ADAPTATIONS,
    "measures": MEASURES,
    "objective": OBJECTIVES,
}
"""By the keys of a recipe, and the kinds of each."""

_PAPER = re.compile(r"^Paper: (.*?)(?:\n\n|\Z)", re.S | re.M)
_WHERE = re.compile(r"arXiv:\d{4}\.\d{4,5}|doi:[^\s,;]+[^\s,;.]")


@dataclass(frozen=True)
class Line:
    """What is said of a part or a recipe.

    Attributes:
        name: Its kind, or the recipe's name.
        text: What it is, in one sentence.
        paper: Authors, year and where it is; empty where there is none.
    """

    name: str
    text: str
    paper: str = ""


def parts() -> dict[str, list[Line]]:
    """All parts by the key that a recipe names them under."""
    return {key: [_part(kind, part) for kind, part in kinds.items()] for key, kinds in PARTS.items()}


def shipped_recipes() -> list[Line]:
    """All shipped recipes, by the first sentence of the comment that they begin with."""
    return [_recipe(path) for path in sorted(SHIPPED.glob("*.toml"))]


def _part(kind: str, part: type) -> Line:
    told = sys.modules[part.__module__].__doc__ or ""
    return Line(kind, " ".join(told.partition("\n\n")[0].split()), _paper(told))


def _paper(text: str) -> str:
    """Who and where, without the title; empty when no paper is named."""
    named = _PAPER.search(text)
    if not named:
        return ""
    told = " ".join(named.group(1).split())
    where = _WHERE.search(told)
    return ", ".join([told.partition(",")[0], *([where.group()] if where else [])])


def _recipe(path: Path) -> Line:
    lines = path.read_text(encoding="utf-8").split("\n")
    comment = [
        line[1:].strip() for line in lines[: next(n for n, line in enumerate(lines) if not line.startswith("#"))]
    ]
    sentence = re.split(r"(?<=[^\d][.:])\s", " ".join(comment).replace("et al. ", "et al.\0"))[0].replace("\0", " ")
    return Line(path.stem, f"{sentence.rstrip('.:')}.")
