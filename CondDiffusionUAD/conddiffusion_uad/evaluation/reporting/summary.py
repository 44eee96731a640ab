"""From the records of an evaluation to its figures: the values of summary.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

import numpy as np

from conddiffusion_uad.evaluation.metrics.lesions import froc, recall_by_size
from conddiffusion_uad.evaluation.metrics.score_counts import ScoreCounts, auroc, shared_thresholds, total
from conddiffusion_uad.evaluation.metrics.statistics import FOLDS, bootstrap_pooled, permutation_test
from conddiffusion_uad.evaluation.record import MODEL, MethodRecord, Record
from conddiffusion_uad.evaluation.reporting import curves
from conddiffusion_uad.evaluation.reporting.attacks import summarize_attacks
from conddiffusion_uad.evaluation.reporting.doses import summarize_doses
from conddiffusion_uad.evaluation.reporting.shifts import interval, summarize_shifts
from conddiffusion_uad.evaluation.shifts import CLEAN

SCHEMA = 2
THRESHOLDS = 512  # that scans share: one flags about 4 % more voxels than the next

LABEL_FREE, VALIDATED, ORACLE = "label-free", "labeled validation", "oracle (upper bound)"
"""The thresholds of a Dice coefficient: chosen without any label, on other patients' labels, on the scan's own."""

_PER_SCAN = ("average_precision", "auroc", "surface_dice", "hausdorff95_mm", "false_findings", "false_ml")
_HEALTHY = ("flagged_fraction", "flagged_ml", "false_findings")

Values = dict[str, Any]
LoadCounts = Callable[[str, str], ScoreCounts]


def summarize(records: Sequence[Record], load: LoadCounts) -> Values:
    """The figures of every data set and contrast, method by method.

    An *interval* is ``{"mean", "low", "high", "n"}``: the mean over scans, its 95 % bootstrap interval over patients
    and the number of patients with a value; null where nothing is known, or too few patients for an interval. ::

        {"schema": 2, "methods": [name, ...], "main": name of the judged one, the others are its baselines,
         "groups": [{
            "dataset", "contrast", "patients", "scans", "labeled_scans", "healthy_scans": counts,
            "prevalence": interval over labeled scans,
            "lesion_ml": interval over labeled scans,
            "reconstruction": {"labeled" | "healthy": {"l1_healthy", ...: interval}},
            "seconds": {"prepare", "reconstruct", "total": interval}, "peak_memory_mb": largest | null,
            "methods": {name: {
                "threshold": smallest score of a finding,
                "average_precision", "auroc", "surface_dice", "hausdorff95_mm": interval over labeled scans,
                "false_findings", "false_ml": interval, per labeled scan,
                "dice": {"label-free", "labeled validation", "oracle (upper bound)": interval},
                "thresholds": {"labeled validation": of each fold, "oracle (upper bound)": interval},
                "pooled": {"prevalence", "average_precision": interval, "auroc"} over all voxels of labeled scans,
                "lesions": {"hits", "total", "by_size": [{"size", "hits", "total"}]},
                "froc": [{"threshold", "recall", "false_findings": mean per scan}],
                "slice_auroc": of the highest score in each slice of all scans, does it hold lesion,
                "healthy": {"flagged_fraction", "flagged_ml", "false_findings",
                            "any_finding": interval, share of scans} of the healthy scans,
                "versus_main": {"difference", "p", "n"} of the average precision, main minus this; null for the main,
                "curves": see :mod:`conddiffusion_uad.evaluation.reporting.curves`}},
            "attacks": see :func:`conddiffusion_uad.evaluation.reporting.attacks.summarize_attacks`; empty when nothing
                was attacked,
            "doses": see :func:`conddiffusion_uad.evaluation.reporting.doses.summarize_doses`; empty when no lesion was
                implanted,
            "shifts": see :func:`conddiffusion_uad.evaluation.reporting.shifts.summarize_shifts`; empty when
                no scan was changed}]}

    Args:
        records: One a scan, at least one, and more of its changed forms; those with a result with the same methods.
        load: The counts of a record's id and a method; called several times for each.
    """
    clean = [record for record in records if record.corruption == CLEAN]
    methods = list(clean[0].methods)
    main = MODEL if MODEL in methods else methods[0]
    keys = sorted({(record.dataset, record.contrast) for record in clean})
    groups = [[r for r in records if (r.dataset, r.contrast) == key] for key in keys]
    groups.sort(key=lambda members: not any(record.labeled for record in members))  # healthy ones last
    made = [_group(members, methods, main, load) for members in groups]
    return {"schema": SCHEMA, "methods": methods, "main": main, "groups": made}


def _group(every: Sequence[Record], methods: Sequence[str], main: str, load: LoadCounts) -> Values:
    records = [record for record in every if record.corruption == CLEAN]
    labeled = [record for record in records if record.labeled]
    healthy = [record for record in records if not record.labeled]
    memory = [record.peak_memory_mb for record in records if record.peak_memory_mb is not None]
    figures = {name: _method(labeled, healthy, name, load) for name in methods}
    for name in methods:
        figures[name]["versus_main"] = _versus(labeled, main, name) if name != main else None
    return {
        **{key: getattr(records[0], key) for key in ("dataset", "contrast")},
        "patients": len({record.patient for record in records}),
        "scans": len(records),
        "labeled_scans": len(labeled),
        "healthy_scans": len(healthy),
        "prevalence": interval(labeled, lambda record: record.prevalence),
        "lesion_ml": interval(labeled, lambda record: record.lesion_ml),
        "reconstruction": {"labeled": _means(labeled, "reconstruction"), "healthy": _means(healthy, "reconstruction")},
        "seconds": _means(records, "seconds"),
        "peak_memory_mb": max(memory, default=None),
        "methods": figures,
        "doses": summarize_doses(every),
        "attacks": summarize_attacks(every),
        "shifts": summarize_shifts(every),
    }


def _method(labeled: Sequence[Record], healthy: Sequence[Record], name: str, load: LoadCounts) -> Values:
    """What :func:`summarize` says of a method, without the comparison."""

    def measured(record: Record) -> MethodRecord:
        return record.methods[name]

    every = [measured(record) for record in chain(labeled, healthy)]
    pooled = total(load(record.id, name) for record in labeled)
    scans = []
    if labeled:
        starts = shared_thresholds(pooled, THRESHOLDS)
        scans = [load(record.id, name).merged(starts) for record in labeled]  # some kilobytes each
    figures = {key: interval(labeled, lambda record, key=key: getattr(measured(record), key)) for key in _PER_SCAN}
    on_healthy = {key: interval(healthy, lambda record, key=key: getattr(measured(record), key)) for key in _HEALTHY}
    lesions = [lesion for values in every for lesion in values.lesions]
    slices = np.array([pair for values in every for pair in values.slices], float).reshape(-1, 2)
    return figures | {
        "threshold": every[0].threshold,
        **_dice(labeled, name, scans),
        "pooled": {
            "prevalence": pooled.prevalence(),
            "average_precision": asdict(bootstrap_pooled(scans, [record.patient for record in labeled]))
            | {"mean": pooled.average_precision()},
            "auroc": pooled.auroc(),
        },
        "lesions": {
            "hits": sum(lesion["detected"] for lesion in lesions),
            "total": len(lesions),
            "by_size": recall_by_size(lesions),
        },
        "froc": froc([(len(values.lesions), values.froc) for values in every]),
        "slice_auroc": auroc(slices[:, 0], slices[:, 1] > 0),
        "healthy": on_healthy
        | {"any_finding": interval(healthy, lambda record: float(measured(record).false_findings > 0))},
        "curves": {
            "precision_recall": curves.precision_recall(pooled) if labeled else None,
            "scores": curves.histogram(pooled) if labeled else None,
            "calibration": curves.calibration(load(r.id, name) for r in healthy) if name == MODEL else None,
        },
    }


def _dice(labeled: Sequence[Record], name: str, scans: Sequence[ScoreCounts]) -> Values:
    """The coefficients, and the thresholds that labels were used for."""
    values, thresholds = validated_dice(scans, [record.patient for record in labeled])
    chosen = dict(zip((record.id for record in labeled), values, strict=True))

    def of(key: str) -> Values:
        return interval(labeled, lambda record: getattr(record.methods[name], key))

    validated = interval(labeled, lambda record: chosen[record.id])
    return {
        "dice": {LABEL_FREE: of("dice"), VALIDATED: validated, ORACLE: of("oracle_dice")},
        "thresholds": {VALIDATED: thresholds, ORACLE: of("oracle_threshold")},
    }


def validated_dice(scans: Sequence[ScoreCounts], patients: Sequence[str]) -> tuple[list[float | None], list[float]]:
    """Dice of each scan at the threshold with the best mean Dice on the patients of the other folds.

    Patients are dealt to the folds in the order of their names; with fewer than five patients, each is a fold.

    Args:
        scans: Counts of each, all in the same bins.
        patients: Whose scan it is, same length.

    Returns:
        One value a scan, None where there is no lesion, and everywhere with fewer than two patients; and the chosen
        score of each fold.
    """
    if not scans:
        return [], []
    dice = np.stack([counts.dice() for counts in scans])
    names = {name: place for place, name in enumerate(sorted(set(patients)))}
    folds = np.array([names[patient] % FOLDS for patient in patients])
    known = ~np.isnan(dice[:, 0])
    values, thresholds = np.full(len(dice), np.nan), []
    for fold in np.unique(folds[known]):
        others = dice[known & (folds != fold)]
        if len(others):
            best = int(others.mean(axis=0).argmax())
            values[folds == fold] = dice[folds == fold, best]
            thresholds.append(float(scans[0].scores[best]))
    return [None if np.isnan(value) else float(value) for value in values], thresholds


def _versus(labeled: Sequence[Record], main: str, name: str) -> Values:
    first, second = ([record.methods[method].average_precision for record in labeled] for method in (main, name))
    return asdict(permutation_test(first, second, [record.patient for record in labeled]))


def _means(records: Sequence[Record], part: str) -> Values:
    """The interval of each value in a part of the records that may be missing from them."""
    known = [record for record in records if getattr(record, part) is not None]
    keys = getattr(known[0], part) if known else ()
    return {key: interval(known, lambda record, key=key: getattr(record, part).get(key)) for key in keys}
