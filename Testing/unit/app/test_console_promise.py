"""What the command line says of false findings, and what it refuses to promise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from conddiffusion_uad.app import cli
from conddiffusion_uad.app.console import findings_table
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.protocol.expected_findings import ExpectedFindings
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, EXIT_DONE

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


def test_what_a_bundle_promises_is_shown(
    small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(small_bundle, tmp_path / "counted"))
    known = ExpectedFindings((1.0, 2.0, 3.0), (4.0, 0.9, 0.2), 18, 0.05, (3.5,), 6)
    bundles.save_expected(folder, {"T1": known})
    assert cli.main(["bundle", "show", str(folder)]) == EXIT_DONE
    told = "T1: 0.3 at 3.00, 0.5 at 3.00, 1 at 2.00, 3 at 2.00 (18 healthy scans of 6 brains, from 0.05 ml)"
    assert f"findings   {told}\n" in capsys.readouterr().out


def test_a_bound_that_a_bundle_cannot_give_is_refused(
    small_bundle: Path, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(small_bundle, tmp_path / "counted"))
    bundles.save_expected(folder, {"T1": ExpectedFindings((1.0, 2.0), (4.0, 0.2), 18, 0.05, (3.5,), 6)})
    arguments = ["detect", scan_file, "--output", tmp_path / "out", "--bundle", folder, "--contrast", "T1", "--bounded"]
    assert cli.main([*map(str, arguments), "--expected-findings", "1"]) == EXIT_BAD_INPUT
    told = capsys.readouterr().err
    assert "--expected-findings cannot be 1: 18 healthy scans of 6 brains are too few" in told and "--bounded" in told


@pytest.mark.parametrize(("smallest", "warned"), [("0.05", False), ("0.01", True)])
def test_where_healthy_scans_were_counted_otherwise_a_number_that_was_asked_for_is_not_kept_in_silence(
    small_bundle: Path, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], smallest: str, warned: bool
) -> None:
    folder = Path(shutil.copytree(small_bundle, tmp_path / "counted"))
    bundles.save_expected(folder, {"T1": ExpectedFindings((1.0, 2.0), (4.0, 0.2), 18, 0.05, (3.5,), 6)})
    arguments = ["detect", scan_file, "--output", tmp_path / "out", "--bundle", folder, "--contrast", "T1"]
    options = ["--expected-findings", "1", "--min-volume-ml", smallest, "--accept-any-scan"]
    assert cli.main([*map(str, arguments), *options]) == EXIT_DONE
    assert ("more than 1 may be false" in capsys.readouterr().err) == warned
    codes = [warning["code"] for warning in json.loads((tmp_path / "out" / "report.json").read_text())["warnings"]]
    assert ("not_as_counted" in codes) == warned
