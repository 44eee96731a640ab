"""Which size and contrast of an implanted lesion a method needs to find it: the values, their table and their CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from statistics import fmean
from typing import Any

from conddiffusion_uad.evaluation.record import Record
from conddiffusion_uad.evaluation.reporting.table import UNKNOWN, Table, number, ratio
from conddiffusion_uad.evaluation.shifts.implanted import CONTRASTS, DIAMETERS_MM, IMPLANTED

READING = (
    "Synthetic lesions of known size and contrast were put into the healthy scans, which then went the whole way of a "
    "detection. Contrast is a share of the brain's signal: added on T2 and FLAIR, taken away on T1. The places are the "
    "same for every method and contrast. A lesion is found when a finding has a voxel in it; 'Without' tells "
    "how often one had before it was there. Real lesions are less even, and their surroundings change, too."
)
COLUMNS = ("dataset", "contrast_of_scan", "method", "diameter_mm", "contrast", "lesions", "found", "without", "ml")


def summarize_doses(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The lesions found of those implanted in the scans of a data set and contrast.

    Returns:
        Empty when nothing was implanted; else, for each method, diameter and contrast, a mapping with "method",
        "diameter_mm", "contrast", "lesions" (how many), "found", "without" (how many would count as found before they
        were there) and "ml" (mean volume; None without lesions).
    """
    changed = [record for record in records if record.corruption == IMPLANTED and record.methods]
    methods = dict.fromkeys(name for record in changed for name in record.methods)
    every = {name: [dose for record in changed for dose in record.methods[name].doses] for name in methods}
    return [
        _cell([d for d in every[name] if (d["diameter_mm"], d["contrast"]) == (diameter, contrast)])
        | {"method": name, "diameter_mm": diameter, "contrast": contrast}
        for name, diameter, contrast in product(methods, DIAMETERS_MM, CONTRASTS)
    ]


def _cell(doses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "lesions": len(doses),
        "found": sum(dose["found"] for dose in doses),
        "without": sum(dose["without"] for dose in doses),
        "ml": fmean(dose["ml"] for dose in doses) if doses else None,
    }


def table(group: Mapping[str, Any]) -> Table:
    """A row for each method and diameter, a column for each contrast."""
    doses = group["doses"]
    lines = []
    for name, diameter in dict.fromkeys((dose["method"], dose["diameter_mm"]) for dose in doses):
        cells = [dose for dose in doses if (dose["method"], dose["diameter_mm"]) == (name, diameter)]
        known = [cell["ml"] for cell in cells if cell["ml"] is not None]
        total = sum(cell["lesions"] for cell in cells)
        found = (ratio(cell["found"], cell["lesions"]) for cell in cells)
        volume = number(fmean(known), 2) if known else UNKNOWN
        lines.append([name, f"{diameter:g}", volume, ratio(sum(c["without"] for c in cells), total), *found])
    heads = ["Method", "Diameter (mm)", "ml", "Without", *(f"Contrast {contrast:g}" for contrast in CONTRASTS)]
    return Table(heads, lines, "Lesions found at the label-free threshold, of all that were implanted.")


def rows(summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All doses of an evaluation, with the values of :data:`COLUMNS`."""
    for group in summary["groups"]:
        for dose in group.get("doses", ()):
            yield {"dataset": group["dataset"], "contrast_of_scan": group["contrast"], **dose}
