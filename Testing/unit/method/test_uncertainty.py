"""The uncertainty of the score is the standard error that leaving out samples gives."""

from __future__ import annotations

import numpy as np
import pytest

from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.uncertainty import uncertainty

RANDOM = np.random.default_rng(0)
BRAIN = Volume(np.full((4, 5, 6), 0.5, np.float32), np.ones((4, 5, 6), bool))


def restored(samples: np.ndarray) -> Restored:
    return Restored(BRAIN, "T2", samples.astype(np.float32), 1)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_of_a_mean_it_is_the_known_standard_error(count: int) -> None:
    samples = RANDOM.uniform(0.1, 0.9, (count, 4, 5, 6))
    found = uncertainty(lambda made: 3 * (made.volume - made.mean), restored(samples))
    assert found.dtype == np.float32
    assert found == pytest.approx(3 * samples.std(axis=0, ddof=1) / np.sqrt(count), rel=1e-3)


def test_of_another_score_it_is_the_formula() -> None:
    samples = RANDOM.uniform(0.1, 0.9, (4, 4, 5, 6)).astype(np.float32)
    without = np.stack([np.delete(samples, k, 0).max(axis=0) ** 2 for k in range(4)])
    expected = np.sqrt(3 / 4 * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    found = uncertainty(lambda made: made.samples.max(axis=0) ** 2, restored(samples))
    assert found == pytest.approx(expected, abs=1e-5)


def test_samples_that_agree_leave_nothing_open_and_one_tells_nothing() -> None:
    same = np.repeat(RANDOM.uniform(0.1, 0.9, (1, 4, 5, 6)), 3, axis=0)
    assert not uncertainty(lambda made: made.mean, restored(same)).any()
    with pytest.raises(ValueError, match="single"):
        uncertainty(lambda made: made.mean, restored(same[:1]))
