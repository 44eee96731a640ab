"""Shared by the tests of the application: detections in this process do not dwell on the bias field."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def _quick(quick_bias: None) -> None:
    """What is tested here is what surrounds a detection."""
