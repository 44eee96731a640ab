"""docs/SCANS.md says what the program says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from studies.scans_document import document


@pytest.mark.skipif(os.name != "posix", reason="some cases are links, which need rights elsewhere")
def test_the_document_is_what_the_cases_say() -> None:
    stored = (Path(__file__).parents[3] / "docs" / "SCANS.md").read_text(encoding="utf-8")
    assert stored == document(), "Write it again: see Testing/studies/scans_document.py."
