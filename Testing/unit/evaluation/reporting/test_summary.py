import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from synthetic_evaluation import evaluation

from conddiffusion_uad.evaluation.metrics.score_counts import ScoreCounts, count, total
from conddiffusion_uad.evaluation.record import Record
from conddiffusion_uad.evaluation.reporting import curves
from conddiffusion_uad.evaluation.reporting.summary import LABEL_FREE, ORACLE, VALIDATED, summarize, validated_dice

Values = dict[str, Any]


@pytest.fixture(scope="module")
def synthetic() -> tuple[list[Record], dict[tuple[str, str], ScoreCounts]]:
    return evaluation()


@pytest.fixture(scope="module")
def summary(synthetic: tuple[list[Record], dict[tuple[str, str], ScoreCounts]]) -> Values:
    records, counts = synthetic
    return summarize(records, lambda *key: counts[key])


def group(summary: Values, dataset: str) -> Values:
    (found,) = (group for group in summary["groups"] if group["dataset"] == dataset)
    return found


def scans(number: int = 3, voxels: int = 4000) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scores and truth of some scans, of few different scores."""
    rng = np.random.default_rng(1)
    for _ in range(number):
        truth = rng.random(voxels) < 0.03
        yield np.round(rng.exponential(1, voxels) + 1.5 * truth, 2), truth


def in_shared_bins() -> list[ScoreCounts]:
    counts = [count(*scan) for scan in scans()]
    return [scan.merged(total(counts).scores) for scan in counts]


def test_every_data_set_and_contrast_is_a_group_of_its_own(summary: Values) -> None:
    assert [(g["dataset"], g["contrast"], g["labeled_scans"], g["healthy_scans"]) for g in summary["groups"]] == [
        ("mslub", "T2", 8, 0),
        ("ixi", "T1", 0, 4),
    ]
    assert summary["main"] == "model"
    assert summary["methods"] == ["model", "blur residual", "random"]


def test_a_mean_is_that_of_the_records(summary: Values, synthetic: Any) -> None:
    values = [r.methods["model"].average_precision for r in synthetic[0] if r.labeled]
    found = group(summary, "mslub")["methods"]["model"]["average_precision"]
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["low"] < found["mean"] < found["high"]
    assert found["n"] == 8


def test_scans_of_one_patient_count_as_one(synthetic: Any) -> None:
    records, counts = synthetic
    single = summarize([replace(record, patient="one") for record in records], lambda *key: counts[key])
    found = group(single, "mslub")
    assert (found["patients"], found["scans"]) == (1, 8)
    assert found["methods"]["model"]["average_precision"]["low"] is None


def test_all_voxels_are_pooled_beside_their_prevalence(summary: Values, synthetic: Any) -> None:
    records, counts = synthetic
    totals = total(counts[r.id, "model"] for r in records if r.labeled)
    pooled = group(summary, "mslub")["methods"]["model"]["pooled"]
    assert pooled["average_precision"]["mean"] == pytest.approx(totals.average_precision())
    assert pooled["average_precision"]["low"] < totals.average_precision() < pooled["average_precision"]["high"]
    assert pooled["prevalence"] == totals.prevalence()


def test_a_validated_threshold_comes_from_the_other_patients() -> None:
    # Best from 3 on in the first scan, from 2 on in the second; each gets the other's threshold.
    first = count(np.array([3.0, 2.0, 2.0, 1.0]), np.array([1, 0, 0, 0], bool))
    second = count(np.array([3.0, 2.0, 2.0, 1.0]), np.array([1, 1, 1, 0], bool))
    values, thresholds = validated_dice([first, second], ["a", "b"])
    assert thresholds == [2.0, 3.0]
    assert values == pytest.approx([2 * 1 / (3 + 1), 2 * 1 / (1 + 3)])


def test_scans_of_the_same_patient_do_not_choose_each_others_threshold() -> None:
    assert validated_dice(in_shared_bins(), ["a", "a", "a"])[0] == [None] * 3


def test_a_validated_dice_is_that_of_the_scan_at_the_threshold() -> None:
    counts = in_shared_bins()
    for value, threshold, scan in zip(*validated_dice(counts, ["a", "b", "c"]), counts, strict=True):
        assert value == pytest.approx(scan.dice_at(threshold))


def test_a_scan_without_lesion_has_no_dice_and_chooses_no_threshold() -> None:
    counts = in_shared_bins()
    empty = replace(counts[0], lesion=counts[0].lesion * 0)
    values, thresholds = validated_dice([*counts[1:], empty], ["a", "b", "c"])
    assert values[-1] is None
    assert values[0] is not None
    assert len(thresholds) == 2


def test_the_three_dice_are_told_apart(summary: Values) -> None:
    dice = group(summary, "mslub")["methods"]["model"]["dice"]
    assert list(dice) == [LABEL_FREE, VALIDATED, ORACLE]
    assert dice[ORACLE]["mean"] > max(dice[LABEL_FREE]["mean"], dice[VALIDATED]["mean"])
    assert len(group(summary, "mslub")["methods"]["model"]["thresholds"][VALIDATED]) == 5


def test_lesions_are_counted_by_size(summary: Values, synthetic: Any) -> None:
    found = group(summary, "mslub")["methods"]["model"]["lesions"]
    every = [lesion for record in synthetic[0] for lesion in record.methods["model"].lesions]
    assert (found["hits"], found["total"]) == (sum(lesion["detected"] for lesion in every), len(every))
    small = [lesion["detected"] for lesion in every if lesion["ml"] < 0.1]
    assert found["by_size"][0] == {"size": "< 0.1 ml", "hits": sum(small), "total": len(small)}
    assert sum(size["total"] for size in found["by_size"]) == len(every)


def test_a_higher_threshold_finds_less_and_errs_less(summary: Values) -> None:
    froc = group(summary, "mslub")["methods"]["model"]["froc"]
    for key in ("recall", "false_findings"):
        values = [point[key] for point in froc]
        assert values == sorted(values, reverse=True) and values[0] > values[-1]


def test_slices_with_a_lesion_score_higher_with_a_method_that_works(summary: Values) -> None:
    methods = group(summary, "mslub")["methods"]
    assert methods["model"]["slice_auroc"] > 0.6
    assert group(summary, "ixi")["methods"]["model"]["slice_auroc"] is None


def test_healthy_scans_have_false_findings_and_no_precision(summary: Values) -> None:
    found = group(summary, "ixi")["methods"]["model"]
    assert found["healthy"]["any_finding"] == {"mean": 1.0, "low": None, "high": None, "n": 4}
    assert found["healthy"]["flagged_fraction"]["mean"] == pytest.approx(0.01, abs=0.005)
    assert found["average_precision"]["mean"] is None
    assert found["pooled"]["average_precision"]["mean"] is None


def test_the_judged_method_is_compared_with_each_baseline(summary: Values) -> None:
    methods = group(summary, "mslub")["methods"]
    assert methods["model"]["versus_main"] is None
    means = {name: values["average_precision"]["mean"] for name, values in methods.items()}
    versus = methods["random"]["versus_main"]
    assert versus["difference"] == pytest.approx(means["model"] - means["random"])
    assert versus["p"] == pytest.approx(2 / 2**8)


def test_the_summary_is_plain_json(summary: Values) -> None:
    assert json.loads(json.dumps(summary, allow_nan=False))["schema"] == 2


def test_heatmaps_of_another_tool_need_no_reconstruction(synthetic: Any) -> None:
    records, counts = synthetic
    renamed = [
        replace(r, reconstruction=None, peak_memory_mb=None, methods={"maps": r.methods["model"]}) for r in records
    ]
    found = summarize(renamed, lambda record, _: counts[record, "model"])
    assert found["main"] == "maps"
    assert group(found, "mslub")["reconstruction"] == {"labeled": {}, "healthy": {}}
    assert group(found, "ixi")["methods"]["maps"]["curves"]["calibration"] is None


def test_a_thinned_curve_keeps_its_ends_and_its_area() -> None:
    counts = count(*next(scans(1, 50_000)))
    thinned = curves.precision_recall(counts)
    assert len(thinned["recall"]) <= curves.POINTS
    assert thinned["recall"][-1] == 1.0
    area = np.sum(np.diff(thinned["recall"], prepend=0) * thinned["precision"])
    assert area == pytest.approx(counts.average_precision(), abs=0.01)


def test_a_histogram_shows_nearly_all_voxels_of_either_kind() -> None:
    shown = curves.histogram(count(*next(scans(1, 50_000))))
    width = shown["edges"][1] - shown["edges"][0]
    assert len(shown["edges"]) == curves.BARS + 1
    for kind in ("healthy", "lesion"):
        assert 0.99 < sum(shown[kind]) * width <= 1 + 1e-6


def test_calibrated_scores_are_seen_to_be_calibrated() -> None:
    rng = np.random.default_rng(0)
    nothing = np.zeros(100_000, bool)
    found = curves.calibration(count(rng.exponential(1 / np.log(10), 100_000), nothing) for _ in range(5))
    for score, low, mean, high in zip(*(found[key] for key in ("score", "low", "mean", "high")), strict=True):
        assert mean == pytest.approx(10**-score, rel=0.2)
        assert low <= mean <= high
    assert curves.calibration([])["score"] == []
