"""Figures as text, the same in every table; what is not known is a dash."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

UNKNOWN = "–"  # noqa: RUF001 (an en dash is meant)

Values = Mapping[str, Any]
Format = Callable[[float], str]


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many digits after the point."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """A share as a percentage with two digits that mean something: "12 %", "1.0 %", "0.034 %"."""
    if share is None:
        return UNKNOWN
    value = 100 * share
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f} %" if value > 0 else "0 %"


def interval(values: Values, form: Format = number) -> str:
    """A mean with its 95 % interval, if there is one: "0.312 (0.210 to 0.402)"."""
    mean, low, high = (values[key] for key in ("mean", "low", "high"))
    known = form(mean)
    return known if mean is None or low is None else f"{known} ({form(low)} to {form(high)})"


def probability(p: float | None) -> str:
    """A p value: "p = 0.031", "p < 0.001"."""
    if p is None:
        return UNKNOWN
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def ratio(hits: int, total: int) -> str:
    """How many of how many, and the share: "12 of 40 (30 %)"."""
    return f"{hits} of {total} ({percent(hits / total)})" if total else UNKNOWN
