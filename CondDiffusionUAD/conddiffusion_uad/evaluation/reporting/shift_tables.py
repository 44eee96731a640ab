"""Tables of how figures change with what is done to scans, from the values that `shift_summary.py` documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conddiffusion_uad.evaluation.record import MODEL
from conddiffusion_uad.evaluation.reporting.table import UNKNOWN, Format, Table, amount, number, percent
from conddiffusion_uad.evaluation.shifts import CLEAN
from conddiffusion_uad.evaluation.shifts.corruption import CORRUPTIONS, SEVERITIES
from conddiffusion_uad.evaluation.shifts.geometry import GEOMETRIC_CHANGES

Values = Mapping[str, Any]
READING = (
    "Each scan was corrupted on its own grid, then read, prepared and scored like any other. It is judged on the grid, "
    "inside the brain and against the truth of the scan as it is: what a corrupted scan loses of the brain counts as "
    "not flagged. The random pattern of a corruption is the same at all its severities; only its strength grows. "
    "Corruptions are simulated on magnitude images, after whatever the scanner did; real ones differ."
)


def all_of(group: Values) -> list[tuple[str, Table]]:
    """The tables of a data set and contrast that hold something, each with its heading; none when nothing changed."""
    if not group["shifts"]:
        return []
    made = {
        "Anomalies found: average precision": average_precision(group),
        "Healthy brain flagged": flagged(group),
        "Reconstruction: histogram KL": histogram_kl(group),
        "The same scan, stored in another way": geometry(group),
        "Refused and warned of": troubles(group),
    }
    return [(name, table) for name, table in made.items() if table.rows]


def average_precision(group: Values) -> Table:
    """Average precision of each method by severity; without rows when nothing is labeled."""
    caption = (
        f"Means over {amount(group['labeled_scans'], 'labeled scan')}, inside the brain of the scan as it is. "
        "Severity 0 is this scan."
    )
    methods = entry(group, CLEAN)["methods"] if group["labeled_scans"] else ()
    return _by_severity(group, methods, "average_precision", number, caption)


def flagged(group: Values) -> Table:
    """Share of the healthy brain that the model flags by severity."""
    caption = (
        f"Means over {amount(group['scans'], 'scan')}, at the label-free threshold of the model. The baseline always "
        "flags the same share of each brain."
    )
    return _by_severity(group, [MODEL], "flagged_fraction", percent, caption)


def histogram_kl(group: Values) -> Table:
    """How far the model's reconstructions are from the intensities that it was given, by severity."""
    clean = entry(group, CLEAN)
    rows = [
        [f"{name} ({corruption.parameter})", *(number(e and e["histogram_kl"]["mean"]) for e in (clean, *found))]
        for name, corruption in CORRUPTIONS.items()
        if any(found := [entry(group, name, severity) for severity in SEVERITIES])
    ]
    caption = "Divergence, in nats, of the reconstruction's intensities from those of the scan that was reconstructed."
    return Table(("Corruption", *map(str, (0, *SEVERITIES))), rows, caption)


def geometry(group: Values) -> Table:
    """How far the heatmap of a scan that was stored in another way agrees with that of the scan as it is."""
    columns = {
        "Correlation": ("correlation", number),
        "Mean difference": ("difference", number),
        "Dice of findings": ("agreement", number),
        "Average precision": ("average_precision", number),
        "Healthy brain flagged": ("flagged_fraction", percent),
    }
    rows = []
    for shift in (each for each in group["shifts"] if each["corruption"] in GEOMETRIC_CHANGES):
        for name in group["methods"]:
            rows.append((shift["corruption"], name, *(_cell(shift, name, *column) for column in columns.values())))
    caption = (
        "Heatmaps are compared on the grid and inside the brain of the scan as it is: correlation and mean absolute "
        "difference of the scores, Dice of what is found in both."
    )
    return Table(("Change", "Method", *columns), rows, caption)


def troubles(group: Values) -> Table:
    """Changed scans that were refused, warned of, or not changed at all."""
    rows = []
    for shift in group["shifts"]:
        told = [f"{count} refused: {code}" for code, count in shift["refused"].items()]
        told += [f"{count} with a warning: {code}" for code, count in shift["warned"].items()]
        told += [f"{shift['without_effect']} left as they are"] if shift["without_effect"] else []
        if told:
            rows.append((name_of(shift), str(shift["scans"]), "; ".join(told)))
    caption = "Refused scans are in no mean. Scans that a change leaves as they are count as the scan as it is."
    return Table(("Change", "Scans", "What happened"), rows, caption)


def entry(group: Values, corruption: str, severity: int = 0) -> Values | None:
    """A corruption of a group; None when it was not tried."""
    return next((e for e in group["shifts"] if (e["corruption"], e["severity"]) == (corruption, severity)), None)


def name_of(shift: Values) -> str:
    """What was done to the scans, for a person."""
    if shift["corruption"] == CLEAN:
        return "the scan as it is"
    return f"{shift['corruption']}, severity {shift['severity']}" if shift["severity"] else shift["corruption"]


def worst(group: Values) -> list[str]:
    """Lines that tell what the most harmful changes do to the model in a data set."""
    clean, lines = entry(group, CLEAN), []
    for figure, name, form, choose in (
        ("average_precision", "lowest average precision", number, min),
        ("flagged_fraction", "most of the healthy brain flagged", percent, max),
    ):
        means = [(_mean(shift, figure), shift) for shift in group["shifts"]]
        known = [pair for pair in means if pair[0] is not None]
        if known:
            value, shift = choose(known, key=lambda pair: pair[0])
            lines.append(f"    {name}: {form(value)} ({name_of(shift)}); as it is {form(_mean(clean, figure))}")
    return lines


def _mean(shift: Values, figure: str) -> float | None:
    return shift["methods"].get(MODEL, {}).get(figure, {}).get("mean")


def _by_severity(group: Values, methods: Sequence[str], figure: str, form: Format, caption: str) -> Table:
    clean, rows = entry(group, CLEAN), []
    for name, corruption in CORRUPTIONS.items():
        found = [entry(group, name, severity) for severity in SEVERITIES]
        for method in methods if any(found) else ():
            cells = (_cell(each, method, figure, form) for each in (clean, *found))
            rows.append((f"{name} ({corruption.parameter})", method, *cells))
    return Table(("Corruption", "Method", *(str(severity) for severity in (0, *SEVERITIES))), rows, caption)


def _cell(shift: Values | None, method: str, figure: str, form: Format) -> str:
    """A mean; how many scans are missing in it because they were refused."""
    if shift is None:
        return UNKNOWN
    refused = sum(shift["refused"].values())
    if method not in shift["methods"]:
        return "refused" if refused else UNKNOWN
    return form(shift["methods"][method][figure]["mean"]) + (f" ({refused} refused)" if refused else "")
