"""How the figures of a group of scans change with what is done to them: the values, their table, the worst changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from conddiffusion_uad.evaluation.metrics.statistics import bootstrap_mean
from conddiffusion_uad.evaluation.record import MODEL, Record
from conddiffusion_uad.evaluation.reporting.table import UNKNOWN, Format, Table, number, percent
from conddiffusion_uad.evaluation.shifts import CLEAN
from conddiffusion_uad.evaluation.shifts.corruption import CORRUPTIONS
from conddiffusion_uad.evaluation.shifts.geometry import GEOMETRIC_CHANGES

Values = Mapping[str, Any]

FIGURES = ("average_precision", "flagged_fraction", "flagged_ml", "correlation", "difference", "agreement")
READING = (
    "Each scan was changed on its own grid, then read, prepared and scored like any other. It is judged on the grid, "
    "inside the brain and against the truth of the scan as it is: what a changed scan loses of the brain counts as "
    "not flagged. The random pattern of a corruption is the same at all its severities; only its strength grows. "
    "Corruptions are simulated on magnitude images, after whatever the scanner did; real ones differ."
)
_CAPTION = (
    "Means over all scans but the refused ones, at the label-free threshold; scans that a change leaves as they are "
    "count as the scan as it is. A baseline always flags the same share of each brain. Correlation and mean absolute "
    "difference of the scores, and Dice of the findings, are those with the scan as it is. Histogram KL: divergence, "
    "in nats, of the reconstruction's intensities from those of the scan that was reconstructed."
)
_COLUMNS: Mapping[str, tuple[str, Format]] = {
    "Average precision": ("average_precision", number),
    "Healthy brain flagged": ("flagged_fraction", percent),
    "Correlation": ("correlation", number),
    "Mean difference": ("difference", number),
    "Dice of findings": ("agreement", number),
}
_ORDER = (CLEAN, *CORRUPTIONS, *GEOMETRIC_CHANGES)


def summarize_shifts(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Means over the scans of a data set and contrast, a mapping for each corruption and severity, clean scans first.

    Trials that are no fault of an acquisition or another way of storing do not count.

    A scan that a corruption leaves as it is counts with the figures of the scan as it is, so that all means are over
    the same scans, but for those that were refused.

    Returns:
        Empty when no scan was changed; else mappings with

        - "corruption", "severity", "level" (None where a change has none),
        - "scans" tried, "without_effect", "refused" and "warned" (how many, by code),
        - "histogram_kl", an interval,
        - "methods": by name, for each of :data:`FIGURES` an interval.

        An interval is "mean", "low", "high" and "n", as in :class:`statistics.Interval`.
    """
    clean = {record.case: record for record in records if record.corruption == CLEAN}
    kinds = {(record.corruption, record.severity) for record in records if record.corruption in _ORDER}
    if kinds <= {(CLEAN, 0)}:
        return []
    ordered = sorted(kinds, key=lambda kind: (_ORDER.index(kind[0]), kind[1]))
    return [_shift([r for r in records if (r.corruption, r.severity) == kind], clean) for kind in ordered]


def _shift(records: Sequence[Record], clean: Mapping[str, Record]) -> dict[str, Any]:
    first = records[0]
    seen = (record if record.applies else clean.get(record.case) for record in records)
    known = [record for record in seen if record and record.methods]
    corruption = CORRUPTIONS.get(first.corruption)
    return {
        "corruption": first.corruption,
        "severity": first.severity,
        "level": corruption.levels[first.severity - 1] if corruption else None,
        "scans": len(records),
        "without_effect": sum(not record.applies for record in records),
        "refused": dict(sorted(Counter(record.refused for record in records if record.refused).items())),
        "warned": dict(sorted(Counter(code for record in records for code in record.warnings).items())),
        "histogram_kl": interval(known, lambda record: (record.reconstruction or {}).get("histogram_kl")),
        "methods": {
            name: {what: interval(known, lambda r, n=name, w=what: getattr(r.methods[n], w)) for what in FIGURES}
            for name in dict.fromkeys(name for record in known for name in record.methods)
        },
    }


def interval(records: Sequence[Record], value: Callable[[Record], float | None]) -> dict[str, Any]:
    """Mean and 95 % interval over patients of a value of each record; see :func:`bootstrap_mean`."""
    return asdict(bootstrap_mean([value(record) for record in records], [record.patient for record in records]))


def table(group: Values) -> Table:
    """The figures of each method after each change; without rows when no scan was changed."""
    columns = [key for key in _COLUMNS if group["labeled_scans"] or key != "Average precision"]
    rows = []
    for shift in group["shifts"]:
        for method in shift["methods"] or {UNKNOWN: {}}:
            of = shift["methods"].get(method, {})
            cells = [form(of[what]["mean"]) if of else UNKNOWN for what, form in (_COLUMNS[key] for key in columns)]
            divergence = number(shift["histogram_kl"]["mean"]) if method == MODEL else UNKNOWN
            rows.append((name_of(shift), _level(shift), method, *cells, divergence, _happened(shift)))
    heads = ("Change", "Level", "Method", *columns, "Histogram KL", "What happened")
    return Table(heads, rows, _CAPTION)


def _level(shift: Values) -> str:
    known = shift["level"] is not None
    return f"{CORRUPTIONS[shift['corruption']].parameter} {shift['level']:g}" if known else UNKNOWN


def _happened(shift: Values) -> str:
    told = [f"{count} refused: {code}" for code, count in shift["refused"].items()]
    told += [f"{count} with a warning: {code}" for code, count in shift["warned"].items()]
    told += [f"{shift['without_effect']} left as they are"] if shift["without_effect"] else []
    return "; ".join(told) or UNKNOWN


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
    lines = []
    for figure, name, form, choose in (
        ("average_precision", "lowest average precision", number, min),
        ("flagged_fraction", "most of the healthy brain flagged", percent, max),
    ):
        means = [(shift["methods"].get(MODEL, {}).get(figure, {}).get("mean"), shift) for shift in group["shifts"]]
        if known := [pair for pair in means if pair[0] is not None]:
            value, shift = choose(known, key=lambda pair: pair[0])
            clean = next((mean for mean, each in means if each["corruption"] == CLEAN), None)
            lines.append(f"    {name}: {form(value)} ({name_of(shift)}); as it is {form(clean)}")
    return lines
