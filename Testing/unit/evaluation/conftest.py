"""Shared by the tests of the evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conddiffusion_uad.preprocessing import bias


@pytest.fixture(scope="module")
def quick_bias() -> Iterator[None]:
    """The bias field is fitted in a moment, and roughly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bias, "CONTROL_POINTS", (4,))
        patch.setattr(bias, "RUNS", 1)
        patch.setattr(bias, "ITERATIONS", 1)
        yield
