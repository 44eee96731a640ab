import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic_evaluation
from markdown_tables import markdown

from conddiffusion_uad.evaluation import report as reports
from conddiffusion_uad.evaluation.experiment import REPORT, RESULTS, SUMMARY
from conddiffusion_uad.evaluation.metrics.score_counts import count
from conddiffusion_uad.evaluation.record import Record
from conddiffusion_uad.evaluation.reporting import shifts
from conddiffusion_uad.evaluation.reporting.summary import summarize
from conddiffusion_uad.evaluation.reporting.table import UNKNOWN
from conddiffusion_uad.evaluation.shifts import CLEAN
from conddiffusion_uad.protocol.failures import BadInput

PATTERN = synthetic_evaluation.evaluation(1)[0][0]
COUNTS = count(np.array([1.0, 2.0, 0.0]), np.array([False, True, False]))
HEALTHY = count(np.array([1.0, 2.0, 0.0]), np.zeros(3, bool))


def trial(patient: str, corruption: str, severity: int, precision: float | None, flagged: float = 0.01) -> Record:
    own = replace(
        PATTERN.methods["model"],
        average_precision=precision,
        flagged_fraction=flagged,
        correlation=0.9,
        difference=0.1,
        lesions=[],
        slices=[(1.0, False)],
    )
    name = f"{patient}(b)"
    return replace(
        PATTERN,
        id=f"{name}+{corruption}-{severity}",
        case=name,
        patient=patient,
        dataset="some|set",
        labeled=precision is not None,
        corruption=corruption,
        severity=severity,
        reconstruction={**PATTERN.reconstruction, "histogram_kl": 0.5},
        methods={"model": own, "rank-normalized intensity": replace(own, flagged_fraction=0.01)},
    )


def group_of(trials: list[Record]) -> dict:
    (group,) = summarize(trials, lambda *_: COUNTS if trials[0].labeled else HEALTHY)["groups"]
    return group


@pytest.fixture
def trials() -> list[Record]:
    """Two patients; one scan is refused with much noise, the other is not changed by thin slices."""
    found = [
        trial(patient, change, severity, precision + 0.1 * (patient == "q"))
        for patient in "pq"
        for change, severity, precision in (
            (CLEAN, 0, 0.4),
            ("noise", 1, 0.3),
            ("contrast", 5, 0.2),
            ("resampled", 0, 0.4),
        )
    ]
    found.append(replace(trial("p", "noise", 5, 0.0), methods={}, reconstruction=None, refused="no_brain"))
    found.append(replace(trial("q", "noise", 5, 0.35, 0.2), warnings=["registration_poor"]))
    found.append(replace(trial("p", "slice thickness", 1, 0.0), methods={}, reconstruction=None, applies=False))
    found.append(trial("q", "slice thickness", 1, 0.1))
    return found


def test_means_are_over_the_scans_that_were_not_refused(trials: list[Record]) -> None:
    group = group_of(trials)
    assert (group["patients"], group["scans"], group["labeled_scans"]) == (2, 2, 2)
    mild, severe = (shifts.entry(group, "noise", severity) for severity in (1, 5))
    assert mild["methods"]["model"]["average_precision"]["mean"] == pytest.approx(0.35)
    assert severe["methods"]["model"]["average_precision"]["mean"] == pytest.approx(0.35)
    assert severe["refused"] == {"no_brain": 1}
    assert severe["warned"] == {"registration_poor": 1}
    assert shifts.entry(group, "noise", 2) is None


def test_a_scan_that_is_not_changed_counts_as_it_is(trials: list[Record]) -> None:
    group = group_of(trials)
    thick = shifts.entry(group, "slice thickness", 1)
    assert thick["methods"]["model"]["average_precision"]["mean"] == pytest.approx((0.4 + 0.1) / 2)
    assert thick["without_effect"] == 1


def rows_of(group: dict) -> list[dict[str, str]]:
    table = shifts.table(group)
    return [dict(zip(table.heads, row, strict=True)) for row in table.rows]


def test_healthy_scans_have_no_average_precision_in_the_table() -> None:
    group = group_of([trial("p", change, s, None) for change, s in ((CLEAN, 0), ("noise", 1))])
    assert "Average precision" not in shifts.table(group).heads
    assert [row["Change"] for row in rows_of(group)] == ["the scan as it is"] * 2 + ["noise, severity 1"] * 2


def test_scans_as_they_are_alone_have_no_table() -> None:
    assert not shifts.table(group_of([trial("p", CLEAN, 0, 0.4)])).rows


def test_a_row_tells_the_level_the_means_and_what_happened(trials: list[Record]) -> None:
    found = {(row["Change"], row["Method"]): row for row in rows_of(group_of(trials))}
    severe = found["noise, severity 5", "model"]
    assert severe["Level"] == "sigma of the noise 0.25"
    assert (severe["Average precision"], severe["Healthy brain flagged"]) == ("0.350", "20 %")
    assert severe["What happened"] == "1 refused: no_brain; 1 with a warning: registration_poor"
    assert found["slice thickness, severity 1", "model"]["What happened"] == "1 left as they are"
    assert severe["Histogram KL"] == "0.500"  # of the model's reconstruction
    assert found["noise, severity 5", "rank-normalized intensity"]["Histogram KL"] == UNKNOWN
    assert found["resampled", "model"]["Level"] == UNKNOWN


def test_a_change_that_was_always_refused_has_a_row() -> None:
    refused = replace(trial("p", "noise", 5, 0.0), methods={}, reconstruction=None, refused="no_brain")
    row = rows_of(group_of([trial("p", CLEAN, 0, 0.4), refused]))[-1]
    assert (row["Change"], row["Average precision"], row["What happened"]) == (
        "noise, severity 5",
        UNKNOWN,
        "1 refused: no_brain",
    )


def test_the_report_holds_everything_and_escapes_it(trials: list[Record], tmp_path: Path) -> None:
    counts = {(r.id, method): COUNTS for r in trials if r.corruption == CLEAN for method in r.methods}
    synthetic_evaluation.write(tmp_path, [replace(each, dataset="<b>") for each in trials], counts)
    headline = reports.report(tmp_path)
    assert "lowest average precision: 0.250" in headline
    assert "most of the healthy brain flagged: 20 % (noise, severity 5); as it is 1.0 %" in headline
    text = (tmp_path / REPORT).read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert text.count("Research use only, not a medical device") == 2
    assert "figures by corruption" in text and "&lt;b&gt;" in text and "<b>" not in text
    assert "1 refused: no_brain; 1 with a warning: registration_poor" in text
    assert "http" not in text.replace("http-equiv", "")
    assert len(json.loads((tmp_path / SUMMARY).read_text())["groups"][0]["shifts"]) == 6
    with (tmp_path / RESULTS).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(trials)
    assert {(row["corruption"], row["severity"]) for row in rows if row["refused"]} == {("noise", "5")}
    assert {row["applies"] for row in rows if row["corruption"] == "slice thickness"} == {"True", "False"}


def test_markdown_escapes_what_would_break_its_tables(trials: list[Record]) -> None:
    text = "\n".join(markdown(shifts.table(group_of(trials))))
    start = "| noise, severity 5 | sigma of the noise 0.25 | model"
    (row,) = [line for line in text.splitlines() if line.startswith(start)]
    assert "1 refused: no\\_brain; 1 with a warning: registration\\_poor |" in row


def test_nothing_evaluated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No scan could be evaluated"):
        reports.report(tmp_path)
