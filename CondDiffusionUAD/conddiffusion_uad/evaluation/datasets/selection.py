"""A part of the cases, for a quick look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from conddiffusion_uad.evaluation.cases import Case


def some(cases: Sequence[Case], most: int | None) -> list[Case]:
    """The cases of at most so many patients of each data set, evenly spread; None keeps all."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for case in cases:
        names[case.dataset][case.patient] = None
    chosen = {place: list(found)[:: -(-len(found) // most) if most else 1] for place, found in names.items()}
    return [case for case in cases if case.patient in chosen[case.dataset]]
