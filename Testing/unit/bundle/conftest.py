"""Shared by the tests of bundles: one to import, and where it goes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from conddiffusion_uad.protocol.bundle_folders import VARIABLE


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of imported bundles."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "home" / "models"))
    return tmp_path / "home" / "models"


@pytest.fixture
def source(small_bundle: Path, tmp_path: Path) -> Path:
    """The folder of a bundle that may be damaged."""
    return shutil.copytree(small_bundle, tmp_path / "source" / "small")
