"""The figures of one method in a group of scans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

import numpy as np

from conddiffusion_uad.evaluation.metrics.lesions import FrocPoint, Lesion, froc, recall_by_size
from conddiffusion_uad.evaluation.metrics.score_counts import ScoreCounts, count
from conddiffusion_uad.evaluation.metrics.statistics import bootstrap_mean, bootstrap_pooled
from conddiffusion_uad.evaluation.record import MODEL
from conddiffusion_uad.evaluation.reporting import curves
from conddiffusion_uad.evaluation.reporting.pooled import Pooled, pool, validated_dice

Record = Mapping[str, Any]
LoadCounts = Callable[[str, str], ScoreCounts]
Values = dict[str, Any]

LABEL_FREE, VALIDATED, ORACLE = "label-free", "labeled validation", "oracle (upper bound)"
"""The thresholds of a Dice coefficient: chosen without any label, on other patients' labels, on the scan's own."""

_PER_SCAN = ("average_precision", "auroc", "surface_dice", "hausdorff95_mm", "false_findings", "false_ml")
_HEALTHY = ("flagged_fraction", "flagged_ml", "false_findings")


def interval(records: Sequence[Record], value: Callable[[Record], float | None]) -> Values:
    """Mean and 95 % interval over patients of a value of each record; see :func:`bootstrap_mean`."""
    return asdict(bootstrap_mean([value(record) for record in records], [record["patient"] for record in records]))


def summarize_method(labeled: Sequence[Record], healthy: Sequence[Record], name: str, load: LoadCounts) -> Values:
    """What :func:`conddiffusion_uad.evaluation.reporting.summary.summarize` says of a method, without the comparison.

    Args:
        labeled: Records of scans with labels.
        healthy: Records of scans of healthy persons.
        name: Of the method.
        load: The counts of a record's id and a method.
    """

    def counts(records: Sequence[Record]) -> Iterator[ScoreCounts]:
        return (load(record["id"], name) for record in records)

    def measured(record: Record) -> Values:
        return record["methods"][name]

    pooled = pool(lambda: counts(labeled))
    every = [measured(record) for record in chain(labeled, healthy)]
    figures = {key: interval(labeled, lambda record, key=key: measured(record)[key]) for key in _PER_SCAN}
    return figures | {
        **_dice(labeled, name, pooled),
        "pooled": _pooled(pooled, [record["patient"] for record in labeled]),
        "lesions": _lesions([Lesion(**lesion) for values in every for lesion in values["lesions"]]),
        "froc": _froc(every),
        "slice_auroc": _slice_auroc(every),
        "healthy": {key: interval(healthy, lambda record, key=key: measured(record)[key]) for key in _HEALTHY}
        | {"any_finding": interval(healthy, lambda record: float(measured(record)["false_findings"] > 0))},
        "curves": {
            "precision_recall": curves.precision_recall(pooled.total) if pooled else None,
            "scores": curves.histogram(pooled.total) if pooled else None,
            "calibration": curves.calibration(counts(healthy)) if name == MODEL else None,
        },
    }


def _dice(labeled: Sequence[Record], name: str, pooled: Pooled | None) -> Values:
    """The coefficients, and the thresholds that labels were used for."""
    validated = validated_dice(pooled, [record["patient"] for record in labeled]) if pooled else None
    chosen = dict(zip((record["id"] for record in labeled), validated.values, strict=True)) if validated else {}

    def of(key: str) -> Values:
        return interval(labeled, lambda record: record["methods"][name][key])

    return {
        "dice": {
            LABEL_FREE: of("dice"),
            VALIDATED: interval(labeled, lambda record: chosen[record["id"]]),
            ORACLE: of("oracle_dice"),
        },
        "thresholds": {VALIDATED: validated.thresholds if validated else (), ORACLE: of("oracle_threshold")},
    }


def _pooled(pooled: Pooled | None, patients: Sequence[str]) -> Values:
    if pooled is None:
        return {"prevalence": None, "average_precision": asdict(bootstrap_pooled([], [])), "auroc": None}
    drawn = asdict(bootstrap_pooled(pooled.scans, patients))
    return {
        "prevalence": pooled.total.prevalence(),
        "average_precision": drawn | {"mean": pooled.total.average_precision()},
        "auroc": pooled.total.auroc(),
    }


def _lesions(lesions: Sequence[Lesion]) -> Values:
    by_size = recall_by_size(lesions).items()
    return {
        "hits": sum(lesion.detected for lesion in lesions),
        "total": len(lesions),
        "by_size": [{"size": size, "hits": hits, "total": total} for size, (hits, total) in by_size],
    }


def _froc(every: Sequence[Values]) -> list[Values]:
    points = [[FrocPoint(**point) for point in values["froc"]] for values in every]
    return [asdict(point) for point in froc([len(values["lesions"]) for values in every], points)]


def _slice_auroc(every: Sequence[Values]) -> float | None:
    slices = np.array([pair for values in every for pair in values["slices"]], float).reshape(-1, 2)
    return count(slices[:, 0], slices[:, 1] > 0).auroc()
