"""From the records of an evaluation to its figures: the values of summary.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from conddiffusion_uad.evaluation.metrics.statistics import permutation_test
from conddiffusion_uad.evaluation.record import MODEL
from conddiffusion_uad.evaluation.reporting.method_summary import (
    LoadCounts,
    Record,
    Values,
    interval,
    summarize_method,
)

SCHEMA = 1


def summarize(records: Sequence[Record], load: LoadCounts) -> Values:
    """The figures of every data set and contrast, method by method.

    An *interval* is ``{"mean", "low", "high", "n"}``: the mean over scans, its 95 % bootstrap interval over patients
    and the number of patients with a value; null where nothing is known, or too few patients for an interval. ::

        {"schema": 1, "methods": [name, ...], "main": name of the judged one, the others are its baselines,
         "groups": [{
            "dataset", "contrast", "dimensions": 3 | 2,
            "patients", "scans", "labeled_scans", "healthy_scans": counts,
            "prevalence": interval over labeled scans,
            "lesion_ml": interval over labeled scans,
            "reconstruction": {"labeled" | "healthy": {"l1_healthy", ...: interval}},
            "seconds": {"prepare", "reconstruct", "total": interval}, "peak_memory_mb": largest | null,
            "methods": {name: {
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
                "curves": see :mod:`conddiffusion_uad.evaluation.reporting.curves`}}}]}

    Args:
        records: One a scan, as they are stored; all with the same methods.
        load: The counts of a record's id and a method; called several times for each.

    Raises:
        ValueError: There is no record.
    """
    if not records:
        raise ValueError("there is no record to summarize")
    methods = list(records[0]["methods"])
    main = MODEL if MODEL in methods else methods[0]
    keys = sorted({(record["dataset"], record["contrast"]) for record in records})
    groups = [[r for r in records if (r["dataset"], r["contrast"]) == key] for key in keys]
    groups.sort(key=lambda members: not any(record["labeled"] for record in members))  # healthy ones last
    return {
        "schema": SCHEMA,
        "methods": methods,
        "main": main,
        "groups": [_group(members, methods, main, load) for members in groups],
    }


def _group(records: Sequence[Record], methods: Sequence[str], main: str, load: LoadCounts) -> Values:
    labeled = [record for record in records if record["labeled"]]
    healthy = [record for record in records if not record["labeled"]]
    memory = [record["peak_memory_mb"] for record in records if record["peak_memory_mb"] is not None]
    figures = {name: summarize_method(labeled, healthy, name, load) for name in methods}
    for name in methods:
        figures[name]["versus_main"] = _versus(labeled, main, name) if name != main else None
    return {
        **{key: records[0][key] for key in ("dataset", "contrast", "dimensions")},
        "patients": len({record["patient"] for record in records}),
        "scans": len(records),
        "labeled_scans": len(labeled),
        "healthy_scans": len(healthy),
        "prevalence": interval(labeled, lambda record: record["prevalence"]),
        "lesion_ml": interval(labeled, lambda record: record["lesion_ml"]),
        "reconstruction": {"labeled": _means(labeled, "reconstruction"), "healthy": _means(healthy, "reconstruction")},
        "seconds": _means(records, "seconds"),
        "peak_memory_mb": max(memory, default=None),
        "methods": figures,
    }


def _versus(labeled: Sequence[Record], main: str, name: str) -> Values:
    first, second = ([record["methods"][method]["average_precision"] for record in labeled] for method in (main, name))
    return asdict(permutation_test(first, second, [record["patient"] for record in labeled]))


def _means(records: Sequence[Record], part: str) -> Values:
    """The interval of each value in a part of the records that may be missing from them."""
    known = [record for record in records if record[part] is not None]
    return {
        key: interval(known, lambda record, key=key: record[part][key]) for key in (known[0][part] if known else ())
    }
