"""Intervals and tests over patients: scans of one patient are not independent, so they move together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from conddiffusion_uad.evaluation.metrics.score_counts import ScoreCounts

RESAMPLES = 10_000
POOLED_RESAMPLES = 1000  # of a pooled statistic, each of which is a curve over all voxels
FEWEST_PATIENTS = 5
"""Below, a bootstrap interval is far too narrow: there are too few different resamples."""

LEVEL = 0.95
_EXACT_PATIENTS = 13  # up to which all 2^n sign changes are tried: no more than 8192
_CHUNK = 50  # resamples of pooled counts that are in memory at once


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
        resamples: How many sets of patients to draw.
        seed: Of the draw; the same gives the same interval.

    Raises:
        ValueError: The lengths differ.
    """
    sums, scans = _by_patient(_floats(values), patients)
    if not len(scans):
        return Interval(None, None, None, 0)
    weights = _weights(len(scans), resamples, np.random.default_rng(seed))
    return _interval(float(sums.sum() / scans.sum()), (weights @ sums) / (weights @ scans), len(scans))


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
        counts: One a scan.
        patients: Whose scan it is, same length.
        statistic: Computed from the sum of the counts.
        resamples: How many sets of patients to draw.
        seed: Of the draw; the same gives the same interval.

    Raises:
        ValueError: The lengths differ.
    """
    totals: dict[str, ScoreCounts] = {}
    for patient, scan in zip(patients, counts, strict=True):
        totals[patient] = totals[patient] + scan if patient in totals else scan
    if not totals:
        return Interval(None, None, None, 0)
    stacked = np.stack([(totals[patient].healthy, totals[patient].lesion) for patient in sorted(totals)])
    whole = statistic(ScoreCounts(*stacked.sum(axis=0)))
    if whole is None or len(totals) < FEWEST_PATIENTS:
        return Interval(whole, None, None, len(totals))
    weights = _weights(len(totals), resamples, np.random.default_rng(seed))
    flat = stacked.reshape(len(totals), -1).astype(np.float64)  # matrix products of integers are slow
    drawn = (
        statistic(ScoreCounts(*pooled.reshape(2, -1)))
        for start in range(0, resamples, _CHUNK)
        for pooled in (weights[start : start + _CHUNK] @ flat).astype(np.int64)
    )
    return _interval(whole, np.array([value for value in drawn if value is not None]), len(totals))


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
    with a mean difference as large: of all of them up to 13 patients, else of random ones with the observed one among
    them, ``(1 + hits) / (1 + permutations)`` (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010).

    Args:
        a, b: One value of each method a scan; a scan that lacks either (None or NaN) is left out.
        patients: Whose scan it is, same length.
        permutations: How many sign changes to draw for more than 13 patients.
        seed: Of the draw; the same gives the same p.

    Raises:
        ValueError: The lengths differ.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values cannot be paired with {len(b)}.")
    sums, scans = _by_patient(_floats(a) - _floats(b), patients)
    n = len(scans)
    if not n:
        return PairedTest(None, None, 0)
    exact = n <= _EXACT_PATIENTS
    signs = _all_signs(n) if exact else np.random.default_rng(seed).choice([-1.0, 1.0], (permutations, n))
    rounding = 1e-12 * np.abs(sums).sum()
    as_large = int(np.sum(np.abs(signs @ sums) >= abs(sums.sum()) - rounding))
    p = as_large / len(signs) if exact else (1 + as_large) / (1 + permutations)
    return PairedTest(float(sums.sum() / scans.sum()), p, n)


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _by_patient(values: np.ndarray, patients: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the known values of each patient who has any."""
    if len(values) != len(patients):
        raise ValueError(f"{len(values)} values belong to {len(patients)} patients.")
    known = ~np.isnan(values)
    _, whose = np.unique(np.array(patients, dtype=str)[known], return_inverse=True)
    return np.bincount(whose, values[known]), np.bincount(whose)


def _weights(patients: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each patient is in each resample, (resamples, patients)."""
    return rng.multinomial(patients, np.full(patients, 1 / patients), resamples).astype(np.float64)


def _interval(mean: float, drawn: np.ndarray, patients: int) -> Interval:
    if patients < FEWEST_PATIENTS:
        return Interval(mean, None, None, patients)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, float(low), float(high), patients)


def _all_signs(n: int) -> np.ndarray:
    """Every way to give n numbers a sign, (2^n, n)."""
    return 1.0 - 2.0 * (np.arange(1 << n)[:, None] >> np.arange(n) & 1)
