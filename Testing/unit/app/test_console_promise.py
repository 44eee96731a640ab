"""What a terminal says of false findings below the table."""

from __future__ import annotations

import pytest

from conddiffusion_uad.app.console import findings_table

BOUND = "findings on average; the conformal bound of that is"


@pytest.mark.parametrize(
    ("expected", "bound", "told"),
    [
        (0.83, 2.1, [f"From score 3.50 on a healthy brain has 0.83 {BOUND} 2.1, where"]),
        (0.0, 1.4, [f"From score 3.50 on a healthy brain has fewer than 0.056 {BOUND} 1.4, where"]),
        (12.0, 10.0, ["From score 3.50 on a healthy brain has 12 findings on average."]),
        (None, None, []),
    ],
)
def test_a_person_is_told_how_many_findings_a_healthy_brain_has(
    expected: float | None, bound: float | None, told: list[str]
) -> None:
    known = {"healthy_as_large": None, "at_threshold": expected, "bound": bound, "scans": 18}
    report = {"findings": {"list": []}, "parameters": {"threshold": 3.5}, "expected_findings": known}
    lines = findings_table(report)
    assert lines[0] == "Nothing from score 3.50 on."
    assert len(lines) == 1 + len(told) and all(map(str.startswith, lines[1:], told))
    finding = {"number": 1, "volume_ml": 1.0, "peak_score": 5.0, "mean_score": 4.0}
    report["findings"]["list"] = [finding | {f"centre_{axis}_mm": 1.0 for axis in "ras"}]
    assert findings_table(report)[2:] == lines[1:], "beside findings, too"
    assert findings_table({**report, "expected_findings": None})[2:] == []
