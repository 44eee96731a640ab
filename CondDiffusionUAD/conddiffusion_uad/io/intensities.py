"""Values of any type as float32, without losing what tells them apart."""

from __future__ import annotations

import numpy as np

from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput

MOST, LEAST_RANGE = 1e15, 1e-15  # beyond, the squares of float32 leave its range
_LEVELS = 4096  # gray levels that a scan's range shall keep


def as_float32(values: np.ndarray, name: str, reading: Reading) -> np.ndarray:
    """Values as float32; numbers far from 0 without the smallest of them, as float32 keeps only 24 bits.

    Args:
        values: As they are stored and scaled; what is no number stays.
        name: What the scan is called in messages.
        reading: Is told when the smallest value is taken off.

    Raises:
        BadInput: bad_intensities when they are too large to be computed with.
    """
    if values.dtype == np.float32 or values.dtype.itemsize < 3:
        return values.astype(np.float32, copy=False)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return values.astype(np.float32)
    low, high = float(finite.min()), float(finite.max())
    check_range(low, high, name)
    if np.spacing(np.float32(max(abs(low), abs(high)))) * _LEVELS <= high - low or low == high:
        return values.astype(np.float32)
    message = f"The intensities of {name} go from {low:.12g} to {high:.12g}: far from 0 for how little they differ."
    reading.warn("intensities_moved", message, "The smallest one is taken off all of them.")
    return (values.astype(np.float64) - low).astype(np.float32)


def check_range(low: float, high: float, name: str) -> None:
    """Raise BadInput("bad_intensities") for values with which float32 cannot compute."""
    if max(abs(low), abs(high)) > MOST or 0 < high - low < LEAST_RANGE:
        raise BadInput(
            "bad_intensities",
            f"The intensities of {name} go from {low:g} to {high:g}, with which nothing can be computed.",
            "Export the scan again, with its intensities as whole numbers.",
        )
