"""How the figures of a group of scans change with what is done to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from conddiffusion_uad.evaluation.metrics.statistics import bootstrap_mean
from conddiffusion_uad.evaluation.record import Record
from conddiffusion_uad.evaluation.shifts import CLEAN
from conddiffusion_uad.evaluation.shifts.corruption import CORRUPTIONS
from conddiffusion_uad.evaluation.shifts.geometry import GEOMETRIC_CHANGES

FIGURES = ("average_precision", "flagged_fraction", "flagged_ml", "correlation", "difference", "agreement")
_ORDER = (CLEAN, *CORRUPTIONS, *GEOMETRIC_CHANGES)


def summarize_shifts(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Means over the scans of a data set and contrast, a mapping for each corruption and severity, clean scans first.

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
    kinds = {(record.corruption, record.severity) for record in records}
    if kinds <= {(CLEAN, 0)}:
        return []
    ordered = sorted(kinds, key=lambda kind: (_ORDER.index(kind[0]), kind[1]))
    return [_shift([r for r in records if (r.corruption, r.severity) == kind], clean) for kind in ordered]


def _shift(records: Sequence[Record], clean: dict[str, Record]) -> dict[str, Any]:
    first = records[0]
    seen = (record if record.applies else clean.get(record.case) for record in records)
    known = [record for record in seen if record and record.methods]
    names = list(dict.fromkeys(name for record in known for name in record.methods))
    corruption = CORRUPTIONS.get(first.corruption)
    return {
        "corruption": first.corruption,
        "severity": first.severity,
        "level": corruption.levels[first.severity - 1] if corruption else None,
        "scans": len(records),
        "without_effect": sum(not record.applies for record in records),
        "refused": _counted(record.refused for record in records if record.refused),
        "warned": _counted(code for record in records for code in record.warnings),
        "histogram_kl": _interval(known, [(r.reconstruction or {}).get("histogram_kl") for r in known]),
        "methods": {
            name: {figure: _interval(known, [getattr(r.methods[name], figure) for r in known]) for figure in FIGURES}
            for name in names
        },
    }


def _interval(records: Sequence[Record], values: Sequence[float | None]) -> dict[str, float | None]:
    return asdict(bootstrap_mean(values, [record.patient for record in records]))


def _counted(codes: Iterable[str]) -> dict[str, int]:
    listed = list(codes)
    return {code: listed.count(code) for code in sorted(set(listed))}
