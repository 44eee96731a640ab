import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic_evaluation

from conddiffusion_uad.evaluation import report as reports
from conddiffusion_uad.evaluation.experiment import REPORT, RESULTS, SUMMARY
from conddiffusion_uad.evaluation.metrics.score_counts import count
from conddiffusion_uad.evaluation.record import Record
from conddiffusion_uad.evaluation.reporting import shift_tables as tables
from conddiffusion_uad.evaluation.reporting.summary import summarize
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
    mild, severe = (tables.entry(group, "noise", severity) for severity in (1, 5))
    assert mild["methods"]["model"]["average_precision"]["mean"] == pytest.approx(0.35)
    assert severe["methods"]["model"]["average_precision"]["mean"] == pytest.approx(0.35)
    assert severe["refused"] == {"no_brain": 1}
    assert severe["warned"] == {"registration_poor": 1}
    assert tables.entry(group, "noise", 2) is None


def test_a_scan_that_is_not_changed_counts_as_it_is(trials: list[Record]) -> None:
    group = group_of(trials)
    thick = tables.entry(group, "slice thickness", 1)
    assert thick["methods"]["model"]["average_precision"]["mean"] == pytest.approx((0.4 + 0.1) / 2)
    assert thick["without_effect"] == 1


def test_healthy_scans_have_no_table_of_average_precision() -> None:
    group = group_of([trial("p", change, s, None) for change, s in ((CLEAN, 0), ("noise", 1))])
    assert not tables.average_precision(group).rows
    assert [name for name, _ in tables.all_of(group)] == [
        "Healthy brain flagged",
        "Reconstruction: histogram KL",
    ]


def test_divergence_of_reconstructions_stands_by_severity(trials: list[Record]) -> None:
    rows = {row[0].split(" (")[0]: row[1:] for row in tables.histogram_kl(group_of(trials)).rows}
    assert rows["contrast"][0] == rows["contrast"][5] == "0.500"
    assert rows["contrast"][1] == rows["contrast"][4] != "0.500"


def test_the_report_holds_everything_and_escapes_it(trials: list[Record], tmp_path: Path) -> None:
    counts = {(r.id, method): COUNTS for r in trials if r.corruption == CLEAN for method in r.methods}
    synthetic_evaluation.write(tmp_path, [replace(each, dataset="<b>") for each in trials], counts)
    headline = reports.report(tmp_path)
    assert "lowest average precision: 0.250" in headline
    assert "most of the healthy brain flagged: 20 % (noise, severity 5); as it is 1.0 %" in headline
    text = (tmp_path / REPORT).read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert text.count("Research use only, not a medical device") == 2
    assert "figures by corruption" in text and "&lt;b&gt;" in text and "<b>" not in text
    assert "0.350 (1 refused)" in text
    assert "http" not in text.replace("http-equiv", "")
    assert len(json.loads((tmp_path / SUMMARY).read_text())["groups"][0]["shifts"]) == 6
    with (tmp_path / RESULTS).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(trials)
    assert {(row["corruption"], row["severity"]) for row in rows if row["refused"]} == {("noise", "5")}
    assert {row["applies"] for row in rows if row["corruption"] == "slice thickness"} == {"True", "False"}


def test_markdown_escapes_what_would_break_its_tables(trials: list[Record]) -> None:
    text = "\n".join(tables.average_precision(group_of(trials)).markdown())
    rows = [line for line in text.splitlines() if line.startswith("| noise (sigma of the noise) | model")]
    assert rows[0] == "| noise (sigma of the noise) | model | 0.450 | 0.350 | – | – | – | 0.350 (1 refused) |"  # noqa: RUF001


def test_nothing_evaluated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No scan could be evaluated"):
        reports.report(tmp_path)
