"""From the trials of changed scans to what is drawn and told: robustness.json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from conddiffusion_uad.evaluation.metrics.statistics import bootstrap_mean
from conddiffusion_uad.evaluation.robustness.corruptions import CORRUPTIONS
from conddiffusion_uad.evaluation.robustness.geometric_changes import GEOMETRIC_CHANGES
from conddiffusion_uad.evaluation.robustness.record import CLEAN, Figures, Trial

FIGURES = tuple(field.name for field in fields(Figures))
_ORDER = (CLEAN, *CORRUPTIONS, *GEOMETRIC_CHANGES)


def summarize(trials: Sequence[Trial]) -> dict[str, Any]:
    """Means over scans, by data set and contrast.

    A scan that a change leaves as it is counts with the figures of the scan as it is, so that all means of a group are
    over the same scans, but for those that were refused.

    Returns:
        ``{"groups": [...]}``, each with "dataset", "contrast", "patients", "scans", "labeled_scans", "methods" (names)
        and "changes", a list in the order of the tables, each with

        - "change", "severity", "level" (None where a change has none),
        - "scans" tried, "without_effect", "refused" and "warned" (how many, by code),
        - "histogram_kl", an interval,
        - "methods": by name, for each of :data:`FIGURES` an interval.

        An interval is "mean", "low", "high" and "n", as in :class:`statistics.Interval`.
    """
    keys = sorted({(trial.dataset, trial.contrast) for trial in trials})
    return {"groups": [_group([t for t in trials if (t.dataset, t.contrast) == key]) for key in keys]}


def _group(trials: Sequence[Trial]) -> dict[str, Any]:
    clean = {trial.id: trial for trial in trials if trial.change == CLEAN}
    scans = {trial.id: trial for trial in trials}
    changes = sorted({(trial.change, trial.severity) for trial in trials}, key=_place)
    return {
        "dataset": trials[0].dataset,
        "contrast": trials[0].contrast,
        "patients": len({trial.patient for trial in trials}),
        "scans": len(scans),
        "labeled_scans": sum(trial.labeled for trial in scans.values()),
        "methods": list(dict.fromkeys(name for trial in trials for name in trial.methods)),
        "changes": [_change([t for t in trials if (t.change, t.severity) == key], clean) for key in changes],
    }


def _place(change: tuple[str, int]) -> tuple[int, str, int]:
    name, severity = change
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name, severity)


def _change(trials: Sequence[Trial], clean: dict[str, Trial]) -> dict[str, Any]:
    first = trials[0]
    known = [shown for trial in trials if (shown := _as_measured(trial, clean)) and shown.methods]
    names = list(dict.fromkeys(name for trial in known for name in trial.methods))
    corruption = CORRUPTIONS.get(first.change)
    return {
        "change": first.change,
        "severity": first.severity,
        "level": corruption.levels[first.severity - 1] if corruption else None,
        "scans": len(trials),
        "without_effect": sum(not trial.applies for trial in trials),
        "refused": _counted(trial.refused for trial in trials if trial.refused),
        "warned": _counted(code for trial in trials for code in trial.warnings),
        "histogram_kl": _interval(known, [trial.histogram_kl for trial in known]),
        "methods": {
            name: {figure: _interval(known, [getattr(t.methods[name], figure) for t in known]) for figure in FIGURES}
            for name in names
        },
    }


def _as_measured(trial: Trial, clean: dict[str, Trial]) -> Trial | None:
    """A trial with figures: those of the scan as it is where the change had no effect; None when that is not known."""
    if trial.applies or trial.id not in clean:
        return trial if trial.applies else None
    return replace(clean[trial.id], change=trial.change, severity=trial.severity)


def _interval(trials: Sequence[Trial], values: Sequence[float | None]) -> dict[str, float | None]:
    return asdict(bootstrap_mean(values, [trial.patient for trial in trials]))


def _counted(codes: Iterable[str]) -> dict[str, int]:
    listed = list(codes)
    return {code: listed.count(code) for code in sorted(set(listed))}
