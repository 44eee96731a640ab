"""Intervals and tests over patients: scans of one patient are not independent, so they move together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from conddiffusion_uad.evaluation.metrics.score_counts import ScoreCounts

RESAMPLES = 10_000
"""Of a bootstrap; and the most permutations of a test, so that up to 13 patients (8192) all of them are tried."""

POOLED_RESAMPLES = 1000  # of a pooled statistic, each of which is a curve over all voxels
FEWEST_PATIENTS = 5
"""Below, a bootstrap interval is far too narrow: there are too few different resamples."""

LEVEL = 0.95
FOLDS = 5  # of the patients, for a threshold that is chosen on others


@dataclass(frozen=True)
class Interval:
    """A mean, or a pooled statistic, with its 95 % interval.

    Attributes:
        mean: Of the known values; None when there is none.
        low, high: Percentiles 2.5 and 97.5 of the resamples; None for fewer than :data:`FEWEST_PATIENTS` patients.
        n: Number of patients with a known value.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class PairedTest:
    """The outcome of a paired test.

    Attributes:
        difference: Mean of ``a - b``; None without pairs.
        p: Two-sided; None without pairs.
        n: Number of patients with a pair.
    """

    difference: float | None
    p: float | None
    n: int


def bootstrap_mean(
    values: Sequence[float | None], patients: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean over scans with the percentile bootstrap that resamples patients (cluster bootstrap).

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Args:
        values: One a scan; None and NaN are not defined and left out.
        patients: Whose scan it is, same length.

    Raises:
        ValueError: The lengths differ.
    """
    sums, scans = _by_patient(_floats(values), patients)
    if not len(scans):
        return Interval(None, None, None, 0)

    def mean(sums: np.ndarray, scans: np.ndarray, axis: int = -1) -> np.ndarray:
        return sums.sum(axis) / scans.sum(axis)

    return _interval(float(mean(sums, scans)), (sums, scans), mean, resamples, seed)


def bootstrap_pooled(
    counts: Sequence[ScoreCounts],
    patients: Sequence[str],
    statistic: Callable[[ScoreCounts], float | None] = ScoreCounts.average_precision,
    *,
    resamples: int = POOLED_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """A statistic of all voxels together, with the percentile bootstrap that resamples patients.

    Resamples in which the statistic is not defined are left out.

    Args:
        counts: One a scan, all in the same bins; see :meth:`ScoreCounts.merged`.
        patients: Whose scan it is, same length.
    """
    names = sorted(set(patients))
    if not names:
        return Interval(None, None, None, 0)
    totals = np.zeros((len(names), 2, len(counts[0].scores)), np.int64)
    for patient, scan in zip(patients, counts, strict=True):
        totals[names.index(patient)] += scan.healthy, scan.lesion

    def pooled(chosen: np.ndarray) -> float:
        value = statistic(ScoreCounts(counts[0].scores, *totals[chosen].sum(axis=0)))
        return np.nan if value is None else value

    every = np.arange(len(names))
    whole = pooled(every)
    if np.isnan(whole):
        return Interval(None, None, None, len(names))
    return _interval(float(whole), (every,), pooled, resamples, seed)


def permutation_test(
    a: Sequence[float | None],
    b: Sequence[float | None],
    patients: Sequence[str],
    *,
    permutations: int = RESAMPLES,
    seed: int = 0,
) -> PairedTest:
    """Whether two methods differ on the same scans: the paired sign-flip test over patients.

    If they did not, ``a - b`` of all scans of a patient would have either sign alike. p is the share of sign changes
    with a mean difference as large: of all of them if there are no more than `permutations`, else of random ones with
    the observed one among them, ``(1 + hits) / (1 + permutations)`` (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol.
    9, 2010).

    Args:
        a, b: One value of each method a scan; a scan that lacks either (None or NaN) is left out.
        patients: Whose scan it is, same length.
        permutations: The most sign changes to try.

    Raises:
        ValueError: The lengths differ.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values cannot be paired with {len(b)}.")
    sums, scans = _by_patient(_floats(a) - _floats(b), patients)
    if not len(scans):
        return PairedTest(None, None, 0)
    difference = float(sums.sum() / scans.sum())
    if len(scans) == 1:  # of two sign changes, both are as large; scipy wants at least two values
        return PairedTest(difference, 1.0, 1)
    test = stats.permutation_test(
        (sums,),
        lambda values, axis: np.abs(values.sum(axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=permutations,
        rng=np.random.default_rng(seed),
        vectorized=True,
    )
    return PairedTest(difference, float(test.pvalue), len(scans))


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _by_patient(values: np.ndarray, patients: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the known values of each patient who has any."""
    if len(values) != len(patients):
        raise ValueError(f"{len(values)} values belong to {len(patients)} patients.")
    known = ~np.isnan(values)
    _, whose = np.unique(np.array(patients, dtype=str)[known], return_inverse=True)
    return np.bincount(whose, values[known]), np.bincount(whose)


def _interval(
    mean: float, data: tuple[np.ndarray, ...], statistic: Callable[..., object], resamples: int, seed: int
) -> Interval:
    """The interval of a statistic of values of patients, drawn anew `resamples` times."""
    patients = len(data[0])
    if patients < FEWEST_PATIENTS:
        return Interval(mean, None, None, patients)
    with warnings.catch_warnings():  # of resamples in which the statistic is not defined: they are left out below
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(
            data,
            statistic,
            n_resamples=resamples,
            paired=True,
            method="percentile",
            vectorized=len(data) > 1,
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, float(low), float(high), patients)
