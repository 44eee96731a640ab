"""How far the reconstructions of a scan leave its anomaly score open.

Paper: Tukey 1958, "Bias and Confidence in Not-Quite Large Samples", doi:10.1214/aoms/1177706647: the standard error
of anything that is computed from S samples, by leaving out each of them once (the jackknife):
``sqrt((S - 1) / S sum_k (s_k - mean s)^2)``, with s_k the score without sample k.

So it is in the unit of the score, and goes with every anomaly map. It tells of the reconstruction alone: of the noise
that it was made with, and of how far its levels disagree; not of what the model never learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from conddiffusion_uad.method.restored import Restored

LEAST_SAMPLES = 2


def uncertainty(score: Callable[[Restored], np.ndarray], restored: Restored) -> np.ndarray:
    """The standard error of a score, float32 (z, y, x), not negative.

    Args:
        score: Of a scan and some of its reconstructions, (z, y, x).
        restored: With all of them.

    Raises:
        ValueError: There is a single reconstruction.
    """
    count = len(restored.samples)
    if count < LEAST_SAMPLES:
        raise ValueError("a single reconstruction does not tell how sure it is")
    mean: np.ndarray = np.zeros((), np.float32)
    squares: np.ndarray = np.zeros((), np.float32)
    for number in range(count):  # Welford 1962: only two volumes are held
        found = score(replace(restored, samples=np.delete(restored.samples, number, axis=0)))
        before = found - mean
        mean = mean + before / np.float32(number + 1)
        squares = squares + before * (found - mean)
    error: np.ndarray = np.sqrt(squares * np.float32((count - 1) / count)).astype(np.float32)
    return error
