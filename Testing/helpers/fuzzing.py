"""What the property-based tests share."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from hypothesis import HealthCheck, settings

from conddiffusion_uad.protocol.failures import Failure

# The folder of a test is used by all its examples.
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


THOROUGH = settings().max_examples >= 1000


def sentences(failure: Failure) -> None:
    """What is told can be read by a person and fits on a line."""
    for text in (failure.message, failure.hint):
        assert text.endswith(".") and text.isprintable() and len(text) < 2000, failure.message


def brain() -> sitk.Image:
    """Values that pass as a scan: 16 x 14 x 12 voxels of 5 mm."""
    values = np.random.default_rng(0).integers(0, 1000, (12, 14, 16)).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((5.0, 5.0, 5.0))
    return image
