"""What the property-based tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

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


def json_values() -> st.SearchStrategy[Any]:
    """Any JSON value, with a liking for what is special."""
    special = st.sampled_from(
        [None, True, 0, -1, 1, 1e308, float("nan"), 2**70, 10**400, "", "auto", "T1", "cuda:99", "\0", "a/\0"]
    )
    atoms = st.one_of(special, st.integers(), st.floats(), st.text(max_size=20), st.just("x" * 5000))
    return st.recursive(
        atoms, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=8), v, max_size=3), max_leaves=6
    )
