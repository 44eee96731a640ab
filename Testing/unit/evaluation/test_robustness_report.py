import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from conddiffusion_uad.evaluation.robustness import tables
from conddiffusion_uad.evaluation.robustness.record import CLEAN, Figures, Trial, save
from conddiffusion_uad.evaluation.robustness.report import REPORT, RESULTS, SUMMARY, markdown_parts, report
from conddiffusion_uad.evaluation.robustness.summary import summarize
from conddiffusion_uad.protocol.failures import BadInput


def figures(precision: float | None, flagged: float) -> Figures:
    return Figures(precision, flagged, 1.0, 0.9, 0.1, None)


def trial(patient: str, change: str, severity: int, precision: float | None, flagged: float = 0.01) -> Trial:
    methods = {"model": figures(precision, flagged), "equalized intensity": figures(precision, 0.01)}
    labeled = precision is not None
    name = f"{patient}<b>"
    return Trial(name, patient, "some|set", "T2", labeled, change, severity, histogram_kl=0.5, methods=methods)


@pytest.fixture
def trials() -> list[Trial]:
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
    found.append(replace(trial("p", "noise", 5, 0.0), methods={}, histogram_kl=None, refused="no_brain"))
    found.append(replace(trial("q", "noise", 5, 0.35, 0.2), warnings=["registration_poor"]))
    found.append(replace(trial("p", "slice thickness", 1, 0.0), methods={}, histogram_kl=None, applies=False))
    found.append(trial("q", "slice thickness", 1, 0.1))
    return found


def test_means_are_over_the_scans_that_were_not_refused(trials: list[Trial]) -> None:
    (group,) = summarize(trials)["groups"]
    assert (group["patients"], group["scans"], group["labeled_scans"]) == (2, 2, 2)
    mild, severe = (tables.entry(group, "noise", severity) for severity in (1, 5))
    assert mild["methods"]["model"]["average_precision"]["mean"] == pytest.approx(0.35)
    assert severe["methods"]["model"]["average_precision"]["mean"] == pytest.approx(0.35)
    assert severe["refused"] == {"no_brain": 1}
    assert severe["warned"] == {"registration_poor": 1}
    assert tables.entry(group, "noise", 2) is None


def test_a_scan_that_is_not_changed_counts_as_it_is(trials: list[Trial]) -> None:
    (group,) = summarize(trials)["groups"]
    thick = tables.entry(group, "slice thickness", 1)
    assert thick["methods"]["model"]["average_precision"]["mean"] == pytest.approx((0.4 + 0.1) / 2)
    assert thick["without_effect"] == 1


def test_healthy_scans_have_no_table_of_average_precision() -> None:
    (group,) = summarize([trial("p", change, s, None) for change, s in ((CLEAN, 0), ("noise", 1))])["groups"]
    assert tables.average_precision(group).rows == ()
    assert [name for name, _ in tables.all_of(group)] == ["Healthy brain flagged"]


def test_contrasts_stand_in_the_order_of_their_exponents(trials: list[Trial]) -> None:
    (group,) = summarize(trials)["groups"]
    table = tables.contrast(group)
    assert table.heads == ("Exponent", "0.3", "1")
    assert table.rows[1] == ("Average precision", "0.250", "0.450")


def test_the_report_holds_everything_and_escapes_it(trials: list[Trial], tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    for number, each in enumerate(trials):
        save(tmp_path / "cases" / f"{number}.json", each)
    headline = report(tmp_path)
    assert "lowest average precision: 0.250" in headline
    assert "most of the healthy brain flagged: 20 % (noise 5); as it is 1.0 %" in headline
    text = (tmp_path / REPORT).read_text(encoding="utf-8").replace("&nbsp;", " ").replace("\N{NO-BREAK SPACE}", " ")
    assert text.count("Research use only, not a medical device") == 2
    assert "data:image/svg+xml;base64," in text
    assert "0.350 (1 refused)" in text
    assert "http" not in text.replace("http-equiv", "")
    assert json.loads((tmp_path / SUMMARY).read_text())["groups"][0]["dataset"] == "some|set"
    with (tmp_path / RESULTS).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 * 2 + 2
    assert sorted(row["refused"] for row in rows if row["method"] == "") == ["", "no_brain"]


def test_markdown_escapes_what_would_break_its_tables(trials: list[Trial]) -> None:
    text = "\n\n".join(markdown_parts(summarize(trials)))
    assert text.startswith("### some\\|set T2: 2 scans of 2 patients, 2 labeled")
    rows = [line for line in text.splitlines() if line.startswith("| noise (sigma of the noise) | model")]
    assert rows[0] == "| noise (sigma of the noise) | model | 0.450 | 0.350 | – | – | – | 0.350 (1 refused) |"  # noqa: RUF001


def test_nothing_tried_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No scan could be evaluated"):
        report(tmp_path)
