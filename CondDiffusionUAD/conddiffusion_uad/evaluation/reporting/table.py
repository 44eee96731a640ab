"""A table as text, and its cells: figures look the same in every table, and what is not known is a dash."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

UNKNOWN = "–"  # noqa: RUF001 (an en dash is meant)

Values = Mapping[str, Any]
Format = Callable[[float | None], str]


@dataclass(frozen=True)
class Table:
    """Cells as text.

    Attributes:
        heads: Of the columns.
        rows: As many cells each.
        caption: What a reader has to know.
        foremost: The row of the judged method, if there is one.
        words: Whether all columns hold words, and not figures from the second column on.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    foremost: int | None = None
    words: bool = False


def write_csv(rows: Iterable[Values], columns: Iterable[str], path: Path) -> None:
    """Write rows as comma-separated values; what a row lacks stays empty. Raises OSError."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many digits after the point."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


one_digit = partial(number, digits=1)


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


def amount(count: int, what: str) -> str:
    """ "1 scan", "12 scans"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def listed(values: Values) -> str:
    """Names and values in one line, without what is not known."""
    known = {name: value for name, value in values.items() if value not in (None, [])}
    return "; ".join(f"{name} {', '.join(v) if isinstance(v, list) else v}" for name, v in known.items())
