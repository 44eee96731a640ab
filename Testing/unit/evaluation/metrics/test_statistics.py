import itertools
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from conddiffusion_uad.evaluation.metrics.score_counts import ScoreCounts, count, total
from conddiffusion_uad.evaluation.metrics.statistics import (
    Interval,
    PairedTest,
    bootstrap_mean,
    bootstrap_pooled,
    permutation_test,
)


def names(count: int) -> list[str]:
    return [f"p{i}" for i in range(count)]


def counts_of(patients: int, seed: int = 0) -> list[ScoreCounts]:
    """Scans of patients in whom the lesion is more or less easy to see."""
    rng = np.random.default_rng(seed)
    scans = []
    for _ in range(patients):
        truth = rng.random(500) < 0.1
        scans.append(count(rng.normal(0, 1, 500) + rng.uniform(0, 3) * truth, truth))
    return in_shared_bins(scans)


def in_shared_bins(scans: list[ScoreCounts]) -> list[ScoreCounts]:
    return [scan.merged(total(scans).scores) for scan in scans]


def test_the_interval_agrees_with_scipy() -> None:
    values = np.random.default_rng(0).gamma(2, 1, 40)
    interval = bootstrap_mean(values, names(40))
    expected = scipy.stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=1)
    assert (interval.mean, interval.n) == (pytest.approx(values.mean()), 40)
    assert interval.low == pytest.approx(expected.confidence_interval.low, abs=0.03)
    assert interval.high == pytest.approx(expected.confidence_interval.high, abs=0.03)


def test_the_interval_by_hand_of_one_patient_who_differs() -> None:
    # The number of ones in a resample of 10 is binomial, n = 10, p = 1/10; its percentiles 2.5 and 97.5 are 0 and 3.
    interval = bootstrap_mean([1] + [0] * 9, names(10))
    assert interval == Interval(pytest.approx(0.1), 0.0, pytest.approx(0.3), 10)


def test_scans_of_a_patient_move_together() -> None:
    values = np.random.default_rng(0).normal(0, 1, 10)
    alone = bootstrap_mean(values, names(10))
    repeated = bootstrap_mean(np.repeat(values, 20), np.repeat(names(10), 20))
    assert (repeated.mean, repeated.low, repeated.high) == pytest.approx((alone.mean, alone.low, alone.high))
    as_if_independent = bootstrap_mean(np.repeat(values, 20), names(200))
    assert as_if_independent.high - as_if_independent.low < 0.5 * (repeated.high - repeated.low)


def test_the_mean_is_over_scans() -> None:
    assert bootstrap_mean([1.0, 1.0, 1.0, 5.0], ["a", "a", "a", "b"]).mean == 2.0


def test_a_patient_with_more_scans_weighs_more_in_every_resample() -> None:
    rng = np.random.default_rng(0)
    scans = np.array([1, 1, 2, 3, 8, 1, 4, 1, 2, 6, 1, 3])
    values = rng.normal(scans, 1)  # one value for all scans of a patient
    interval = bootstrap_mean(np.repeat(values, scans), np.repeat(names(12), scans))
    expected = scipy.stats.bootstrap(
        (values * scans, scans), lambda x, y, axis: x.sum(axis) / y.sum(axis), paired=True, method="percentile", rng=1
    )
    assert interval.low == pytest.approx(expected.confidence_interval.low, abs=0.1)
    assert interval.high == pytest.approx(expected.confidence_interval.high, abs=0.1)


def test_what_is_not_defined_is_left_out() -> None:
    values = [1.0, None, 3.0, float("nan"), 2.0, 4.0, 5.0]
    interval = bootstrap_mean(values, names(7))
    assert interval == bootstrap_mean([1.0, 3.0, 2.0, 4.0, 5.0], names(5))
    assert (interval.mean, interval.n) == (3.0, 5)


def test_fewer_than_five_patients_have_no_interval() -> None:
    assert bootstrap_mean([1.0, 2.0, 3.0, 4.0], names(4)) == Interval(2.5, None, None, 4)
    assert bootstrap_mean(np.arange(20.0), list("abcd") * 5) == Interval(9.5, None, None, 4)
    assert bootstrap_mean(np.arange(5.0), names(5)).low is not None


@pytest.mark.parametrize("values", [[], [None, float("nan")]])
def test_no_value_has_no_mean(values: list[float | None]) -> None:
    assert bootstrap_mean(values, names(len(values))) == Interval(None, None, None, 0)


def test_the_same_seed_gives_the_same_interval_and_another_a_slightly_different_one() -> None:
    values = np.random.default_rng(0).normal(0, 1, 30)
    first = bootstrap_mean(values, names(30))
    assert first == bootstrap_mean(values, names(30))
    other = bootstrap_mean(values, names(30), seed=1)
    assert other != first
    assert other.low == pytest.approx(first.low, abs=0.05)


@pytest.mark.parametrize("function", [bootstrap_mean, lambda values, who: permutation_test(values, values, who)])
def test_values_and_patients_of_different_numbers_are_refused(function: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="patients"):
        function([1.0, 2.0], ["a"])


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        effects = np.repeat(rng.normal(0, 1, 30), 3)  # of patients, shared by their three scans
        interval = bootstrap_mean(effects + rng.normal(0, 1, 90), np.repeat(names(30), 3), resamples=300, seed=seed)
        covered += interval.low <= 0 <= interval.high
    assert 0.90 <= covered / 200 <= 0.97


def test_a_pooled_statistic_is_that_of_the_sum() -> None:
    scans = counts_of(12)
    pooled = total(scans)
    interval = bootstrap_pooled(scans, names(12), resamples=200)
    assert (interval.mean, interval.n) == (pytest.approx(pooled.average_precision()), 12)
    assert interval.low < interval.mean < interval.high
    assert bootstrap_pooled(scans, names(12), ScoreCounts.prevalence, resamples=2).mean == pooled.prevalence()


def test_the_interval_of_a_pooled_share_is_that_of_the_mean_over_scans_of_one_size() -> None:
    scans = counts_of(12)
    pooled = bootstrap_pooled(scans, names(12), ScoreCounts.prevalence, resamples=300)
    mean = bootstrap_mean([scan.prevalence() for scan in scans], names(12), resamples=300)
    assert (pooled.mean, pooled.low, pooled.high) == pytest.approx((mean.mean, mean.low, mean.high))


def test_scans_of_a_patient_move_together_in_a_pooled_statistic() -> None:
    scans = counts_of(6)
    doubled = [scan for scan in scans for _ in range(2)]
    alone = bootstrap_pooled(scans, names(6), resamples=100)
    assert bootstrap_pooled(doubled, np.repeat(names(6), 2), resamples=100) == alone


def test_a_pooled_statistic_of_few_patients_or_without_lesion_has_no_interval() -> None:
    scans = counts_of(4)
    assert bootstrap_pooled(scans, names(4)).low is None
    assert bootstrap_pooled(scans, names(4)).mean is not None
    healthy = [count(np.arange(5.0), np.zeros(5, bool))] * 6
    assert bootstrap_pooled(healthy, names(6)) == Interval(None, None, None, 6)
    assert bootstrap_pooled([], []) == Interval(None, None, None, 0)


def test_resamples_without_lesion_are_left_out() -> None:
    truth = np.arange(5) == 4
    scans = in_shared_bins([count(np.arange(5.0), truth & (i == 0)) for i in range(5)])
    interval = bootstrap_pooled(scans, names(5), resamples=50)
    assert 0 < interval.low <= interval.mean <= interval.high <= 1


def test_the_exact_test_by_hand() -> None:
    # Differences 1, 2, 3: of 8 sign changes only +++ and --- reach a sum of 6; -++ and +-- reach 4 with 1, 2, 3.
    assert permutation_test([1, 2, 3], [0, 0, 0], names(3)) == PairedTest(2.0, 2 / 8, 3)
    assert permutation_test([-1, 2, 3], [0, 0, 0], names(3)) == PairedTest(pytest.approx(4 / 3), 4 / 8, 3)
    assert permutation_test([1, -1], [0, 0], names(2)) == PairedTest(0.0, 1.0, 2)


def test_sums_that_differ_by_rounding_only_are_equal() -> None:
    # 7, 3, 0, -4 tenths: of 16 sign changes 12 reach the observed 6 tenths, four of them exactly.
    assert permutation_test([0.7, 0.3, 0.0, -0.4], [0, 0, 0, 0], names(4)).p == 12 / 16


def test_few_patients_are_tested_exactly_and_many_never_have_a_p_of_zero() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 1, 30), rng.normal(0, 1, 30)
    signs = np.array(list(itertools.product([-1, 1], repeat=13)))
    differences = (a - b)[:13]
    expected = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
    assert permutation_test(a[:13], b[:13], names(13)).p == pytest.approx(expected)
    assert permutation_test(a + 10, b, names(30)).p == pytest.approx(1 / 10_001)


def test_one_patient_tells_nothing() -> None:
    assert permutation_test([3, 5], [1, 1], ["a", "a"]) == PairedTest(3.0, 1.0, 1)


def test_the_test_is_symmetric_in_the_methods() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 1, 20), rng.normal(0, 1, 20)
    one, other = permutation_test(a, b, names(20)), permutation_test(b, a, names(20))
    assert (one.p, one.difference) == (other.p, pytest.approx(-other.difference))


def test_signs_change_for_all_scans_of_a_patient_at_once() -> None:
    assert permutation_test([1, 1, 1, 1], [0, 0, 0, 0], ["a", "a", "a", "b"]).p == 2 / 4
    assert permutation_test([1, 1, 1, 1], [0, 0, 0, 0], names(4)).p == 2 / 16


def test_a_scan_that_lacks_one_of_two_values_is_no_pair() -> None:
    tested = permutation_test([1, None, 3, 4], [0, 0, float("nan"), 1], names(4))
    assert tested == PairedTest(2.0, 2 / 4, 2)
    assert permutation_test([None], [1.0], ["a"]) == PairedTest(None, None, 0)


def test_the_order_of_the_scans_does_not_matter() -> None:
    values, scans = np.random.default_rng(0).normal(0, 1, 12), counts_of(12)
    assert bootstrap_mean(values[::-1], names(12)[::-1]) == bootstrap_mean(values, names(12))
    in_order = bootstrap_pooled(scans, names(12), resamples=50)
    assert bootstrap_pooled(scans[::-1], names(12)[::-1], resamples=50) == in_order


def test_two_methods_with_different_numbers_of_scans_are_refused() -> None:
    with pytest.raises(ValueError, match="paired"):
        permutation_test([1, 2], [1], names(2))


def test_methods_that_do_not_differ_are_told_apart_as_rarely_as_the_level_says() -> None:
    rng = np.random.default_rng(0)
    found = [
        permutation_test(*rng.normal(0, 1, (2, patients)), names(patients), permutations=200).p <= 0.05
        for patients, _ in itertools.product([10, 20], range(200))
    ]
    assert 0.02 <= np.mean(found) <= 0.08
