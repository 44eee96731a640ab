"""Values of any type as float32, without losing what tells them apart."""

from __future__ import annotations

import numpy as np

from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

MOST, LEAST_RANGE = 1e15, 1e-15  # beyond, the squares of float32 leave its range
_FLOAT32, _FLOAT64 = (np.float64(np.finfo(kind).max) for kind in (np.float32, np.float64))
_LEVELS = 4096  # gray levels that a scan's range shall keep


def as_float32(values: np.ndarray, name: str, reading: Reading) -> np.ndarray:
    """Values as float32; numbers far from 0 without the smallest of them, as float32 keeps only 24 bits.

    Args:
        values: As they are stored and scaled; what is no number stays. The largest floats that there are become NaN.
        reading: Is told when the smallest value is taken off.

    Raises:
        BadInput: bad_intensities when they are too large to be computed with.
    """
    if values.dtype.itemsize < 3:
        return values.astype(np.float32)
    if values.dtype.kind == "f" and (fill := _is_fill(values)).any():
        values = np.where(fill, np.nan, values)
    if values.dtype == np.float32:
        return values
    finite = values[np.isfinite(values)]
    if not finite.size:
        return values.astype(np.float32)
    low, high = float(finite.min()), float(finite.max())
    check_range(low, high, name)
    if np.spacing(np.float32(max(abs(low), abs(high)))) * _LEVELS <= high - low or low == high:
        return values.astype(np.float32)
    message = f"The intensities of {name} go from {low:.12g} to {high:.12g}: far from 0 for how little they differ."
    reading.warn("intensities_moved", message, "The smallest one is taken off all of them.")
    return (values.astype(np.float64) - low).astype(np.float32)


def _is_fill(values: np.ndarray) -> np.ndarray:
    """Which values are as large as a float can be: programs fill with them what was not measured."""
    size = np.abs(values)
    return np.isfinite(values) & (((size > 0.99 * _FLOAT32) & (size < 1.01 * _FLOAT32)) | (size > 0.99 * _FLOAT64))


def check_range(low: float, high: float, name: str) -> None:
    """Raise BadInput("bad_intensities") for values with which float32 cannot compute."""
    if max(abs(low), abs(high)) > MOST or 0 < high - low < LEAST_RANGE:
        raise BadInput(
            "bad_intensities",
            f"The intensities of {name} go from {low:g} to {high:g}, with which nothing can be computed.",
            "Export the scan again, with its intensities as whole numbers.",
        )
