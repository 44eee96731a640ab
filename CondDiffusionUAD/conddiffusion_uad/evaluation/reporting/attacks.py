"""How far worst-case changes of a scan move the residual, beside random ones of equal size: the values, their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from conddiffusion_uad.evaluation.record import Record
from conddiffusion_uad.evaluation.reporting.shifts import interval as interval_over
from conddiffusion_uad.evaluation.reporting.table import Table, interval, number
from conddiffusion_uad.evaluation.shifts.adversarial import AIMS, SIZES, WORST

READING = (
    "A few slices of each scan were changed by less than anybody sees, so that the residual of healthy tissue grows (a "
    "false alarm) or that of a lesion falls (a missed lesion) as far as projected gradient descent finds a way; beside "
    "it, changes as large in every pixel, but up or down at random. Nobody changes scans so, and it takes the model's "
    "weights; it shows how far a reconstruction can be moved at all."
)
FIGURES = ("usual", "random", "worst", "similarity")


def summarize_attacks(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The means over the scans of a data set and contrast.

    Returns:
        Empty when nothing was attacked; else, for each aim and size that there is, a mapping with "aim", "size" and an
        interval of each of :data:`FIGURES`.
    """
    attacked = [record for record in records if record.corruption == WORST]

    def figure(record: Record, aim: str, size: float, name: str) -> float | None:
        found = (a[name] for a in record.attacks if (a["aim"], a["size"]) == (aim, size))
        return next(found, None)

    means = [
        {
            "aim": aim,
            "size": size,
            **{name: interval_over(attacked, lambda r, a=aim, s=size, n=name: figure(r, a, s, n)) for name in FIGURES},
        }
        for aim, size in product(AIMS, SIZES)
    ]
    return [each for each in means if each["usual"]["n"]]


def table(group: Mapping[str, Any]) -> Table:
    """A row for each aim and size."""
    rows = [
        [
            each["aim"],
            f"{255 * each['size']:g} / 255",
            *(interval(each[name], lambda value: number(value, 4)) for name in FIGURES),
        ]
        for each in group["attacks"]
    ]
    heads = [
        "Aim",
        "Size of the change",
        "Residual as it is",
        "Random changes",
        "Worst changes",
        "Similarity of slices",
    ]
    return Table(heads, rows, "Residuals in units of normalized intensity, 0 to 1. Similarity: SSIM inside the brain.")
