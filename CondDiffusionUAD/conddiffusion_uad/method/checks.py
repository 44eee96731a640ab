"""What several parts of a method check of themselves and of what they make, in the same words."""

from __future__ import annotations

import numpy as np

from conddiffusion_uad.protocol.failures import BundleFailure
from conddiffusion_uad.protocol.job import are_levels, is_number


def require_timesteps(timesteps: object) -> None:
    """Raise ValueError unless these are timesteps."""
    if not are_levels(timesteps):
        raise ValueError("timesteps are different whole numbers from 1 to 1000")


def require_whole(part: object, **most: int) -> None:
    """Raise ValueError unless each attribute named is a whole number from 1 to the most that it may be."""
    for name, highest in most.items():
        value = getattr(part, name)
        if type(value) is not int or not is_number(value, 1, highest):
            raise ValueError(f"{name} is a whole number from 1 to {highest}")


def finite(values: np.ndarray) -> np.ndarray:
    """The values. Raises BundleFailure("not_finite_result") when some are no numbers."""
    if not np.isfinite(values).all():
        raise BundleFailure(
            "not_finite_result",
            "The network gave values that are not numbers, so nothing can be said about this scan.",
            "Try --precision fp32 or --device cpu; if it happens again, install the bundle again.",
        )
    return values
