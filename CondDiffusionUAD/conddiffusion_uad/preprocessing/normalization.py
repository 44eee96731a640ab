"""Bring intensities to 0..1 between two percentiles of the brain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import SimpleITK as sitk

Values = TypeVar("Values", sitk.Image, np.ndarray)


@dataclass(frozen=True)
class Normalized:
    """A scan in 0..1 and the intensities that these limits stand for.

    Attributes:
        image: float32, 0..1; what lay beyond the limits is clipped.
        low: Intensity that became 0.
        high: Intensity that became 1.
    """

    image: sitk.Image
    low: float
    high: float

    def undo(self, values: Values) -> Values:
        """Return normalized values in the scan's own units: v (high - low) + low."""
        return values * (self.high - self.low) + self.low


def normalize(image: sitk.Image, mask: sitk.Image, lower: float = 1.0, upper: float = 99.0) -> Normalized:
    """Scale an image so that two percentiles of the intensities inside the mask become 0 and 1, and clip to 0..1.

    v' = clip((v - p_lower) / (p_upper - p_lower), 0, 1). A brain of one single intensity becomes 0 everywhere.

    Args:
        image: float32 image.
        mask: Brain mask on the same grid, not empty.
        lower: Lower percentile, 0..100.
        upper: Upper percentile, 0..100.
    """
    brain = sitk.GetArrayViewFromImage(image)[sitk.GetArrayViewFromImage(mask) > 0]
    low, high = (float(value) for value in np.percentile(brain, [lower, upper]))
    span = high - low if high > low else 1.0
    scaled = sitk.Clamp((image - low) * (1.0 / span), lowerBound=0.0, upperBound=1.0)
    return Normalized(image=scaled, low=low, high=low + span)
