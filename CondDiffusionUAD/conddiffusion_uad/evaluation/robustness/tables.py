"""The tables of a robustness report, as text, from the values that `robustness_summary.py` documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conddiffusion_uad.evaluation.record import MODEL
from conddiffusion_uad.evaluation.reporting.formatting import UNKNOWN, Format, number, percent
from conddiffusion_uad.evaluation.reporting.tables import Table, amount, title
from conddiffusion_uad.evaluation.robustness.corruptions import CORRUPTIONS, SEVERITIES
from conddiffusion_uad.evaluation.robustness.geometric_changes import GEOMETRIC_CHANGES
from conddiffusion_uad.evaluation.robustness.record import CLEAN

Values = Mapping[str, Any]
CONTRAST = "contrast"


def all_of(group: Values) -> list[tuple[str, Table]]:
    """The tables of a data set and contrast that hold something, each with its heading."""
    made = {
        "Anomalies found: average precision": average_precision(group),
        "Healthy brain flagged": flagged(group),
        "Simulated contrast": contrast(group),
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
    rows = _by_severity(group, group["methods"], "average_precision", number) if group["labeled_scans"] else ()
    return Table(("Corruption", "Method", *_severities()), rows, caption)


def flagged(group: Values) -> Table:
    """Share of the healthy brain that the model flags by severity."""
    caption = (
        f"Means over {amount(group['scans'], 'scan')}, at the label-free threshold of the model. The baseline always "
        "flags the same share of each brain."
    )
    rows = _by_severity(group, [MODEL], "flagged_fraction", percent)
    return Table(("Corruption", "Method", *_severities()), rows, caption)


def contrast(group: Values) -> Table:
    """What the model makes of other exponents of the intensities, the weakest contrast of dark tissue first."""
    clean = entry(group, CLEAN)
    found = {1.0: clean, **{each["level"]: each for each in group["changes"] if each["change"] == CONTRAST}}
    if clean is None or len(found) == 1:
        return Table((), ())
    levels = sorted(found)
    figures = {
        "Average precision": ("average_precision", number),
        "Healthy brain flagged": ("flagged_fraction", percent),
    }
    rows = [("Histogram KL", *(number(found[level]["histogram_kl"]["mean"]) for level in levels))]
    for name, (figure, form) in figures.items():
        rows.append((name, *(_cell(found[level], MODEL, figure, form) for level in levels)))
    caption = (
        "By the exponent of the intensities; 1 is the scan as it is. Histogram KL: divergence, in nats, of the "
        "reconstruction's intensities from those of the scan that was reconstructed."
    )
    return Table(("Exponent", *(f"{level:g}" for level in levels)), tuple(rows), caption)


def geometry(group: Values) -> Table:
    """How far the heatmap of a scan that was stored in another way agrees with that of the scan as it is."""
    rows = []
    for change in (each for each in group["changes"] if each["change"] in GEOMETRIC_CHANGES):
        for name in group["methods"]:
            forms = {"correlation": number, "difference": number, "dice": number}
            cells = [_cell(change, name, figure, form) for figure, form in forms.items()]
            precision = _cell(change, name, "average_precision", number)
            rows.append((change["change"], name, *cells, precision, _cell(change, name, "flagged_fraction", percent)))
    heads = ("Change", "Method", "Correlation", "Mean difference", "Dice of findings", "Average precision")
    caption = (
        "Heatmaps are compared on the grid and inside the brain of the scan as it is: correlation and mean absolute "
        "difference of the scores, Dice of what is found in both."
    )
    return Table((*heads, "Healthy brain flagged"), tuple(rows), caption)


def troubles(group: Values) -> Table:
    """Changed scans that were refused, warned of, or not changed at all."""
    rows = []
    for change in group["changes"]:
        told = [f"{count} refused: {code}" for code, count in change["refused"].items()]
        told += [f"{count} with a warning: {code}" for code, count in change["warned"].items()]
        told += [f"{change['without_effect']} left as they are"] if change["without_effect"] else []
        if told:
            degree = f", severity {change['severity']}" if change["severity"] else ""
            what = "the scan as it is" if change["change"] == CLEAN else change["change"]
            rows.append((f"{what}{degree}", str(change["scans"]), "; ".join(told)))
    caption = "Refused scans are in no mean. Scans that a change leaves as they are count as the scan as it is."
    return Table(("Change", "Scans", "What happened"), tuple(rows), caption)


def entry(group: Values, change: str, severity: int = 0) -> Values | None:
    """A change of a group; None when it was not tried."""
    return next((e for e in group["changes"] if (e["change"], e["severity"]) == (change, severity)), None)


def heading(group: Values) -> str:
    """What the figures of a group are of."""
    scans, patients = amount(group["scans"], "scan"), amount(group["patients"], "patient")
    return f"{title(group)}: {scans} of {patients}, {group['labeled_scans']} labeled"


def _severities() -> tuple[str, ...]:
    return tuple(str(severity) for severity in (0, *SEVERITIES))


def _by_severity(group: Values, methods: Sequence[str], figure: str, form: Format) -> tuple[tuple[str, ...], ...]:
    clean, rows = entry(group, CLEAN), []
    for name, corruption in CORRUPTIONS.items():
        found = [entry(group, name, severity) for severity in SEVERITIES]
        if any(found):
            for method in methods:
                cells = (_cell(each, method, figure, form) for each in (clean, *found))
                rows.append((f"{name} ({corruption.parameter})", method, *cells))
    return tuple(rows)


def _cell(change: Values | None, method: str, figure: str, form: Format) -> str:
    """A mean; how many scans are missing in it because they were refused."""
    if change is None:
        return UNKNOWN
    refused = sum(change["refused"].values())
    if method not in change["methods"]:
        return "refused" if refused else UNKNOWN
    return form(change["methods"][method][figure]["mean"]) + (f" ({refused} refused)" if refused else "")
