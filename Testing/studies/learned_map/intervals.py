"""95 % intervals of what the studies of the learned map count, in words that fit a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from scipy import stats

from conddiffusion_uad.evaluation.metrics.statistics import LEVEL, bootstrap_mean
from conddiffusion_uad.evaluation.reporting.table import UNKNOWN, Format, interval


def short(value: float | None) -> str:
    """Three digits that mean something, without a zero before the point: ".041", "12.3"."""
    if value is None:
        return UNKNOWN
    text = f"{value:.3g}" if abs(value) >= 0.01 or not value else f"{value:.1g}"
    return text.removeprefix("0") if text != "0" else text


def mean(values: Sequence[float], people: Sequence[str], form: Format = short) -> str:
    """A mean over scans and its bootstrap interval over people; the mean alone where those are too few."""
    return interval(asdict(bootstrap_mean(values, people)), form)


def share(found: int, total: int) -> str:
    """How many of how many, and Wilson's interval of the share: "5 of 45 (5 to 24 %)".

    Lesions of one scan count as if they were of different ones.
    """
    if not total:
        return UNKNOWN
    low, high = stats.binomtest(found, total).proportion_ci(LEVEL, method="wilson")
    return f"{found} of {total} ({100 * low:.0f} to {100 * high:.0f} %)"


def findings(counts: Sequence[int], people: Sequence[str]) -> str:
    """The mean number of findings of a scan and its interval: over people, or Poisson's where nothing was found.

    With no finding in n scans every resample has none. What is known then is Garwood's limit (1936), 3.7 / n.
    """
    if any(counts):
        return mean(counts, people)
    return f"0 (0 to {short(float(most_of_none(len(counts))))})"


def most_of_none(scans: int) -> float:
    """The largest mean, by its two-sided interval, of Poisson counts that were all 0 in so many scans."""
    return float(stats.chi2.ppf((1 + LEVEL) / 2, 2)) / 2 / scans


def quantiles(values: np.ndarray) -> tuple[float, float]:
    """What is between the ends of the interval of resampled values, which may be infinite."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return float(low), float(high)
