"""Lesions found of those implanted, counted by size and contrast."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

from synthetic_evaluation import evaluation

from conddiffusion_uad.evaluation.reporting.doses import COLUMNS, rows, summarize_doses, table
from conddiffusion_uad.evaluation.reporting.summary import summarize
from conddiffusion_uad.evaluation.reporting.table import write_csv
from conddiffusion_uad.evaluation.shifts.implanted import CONTRASTS, DIAMETERS_MM, IMPLANTED

RECORDS, COUNTS = evaluation()


def dose(diameter: float, contrast: float, found: bool, without: bool = False) -> dict[str, Any]:
    told = {"diameter_mm": diameter, "contrast": contrast, "found": found, "without": without}
    return {**told, "ml": 0.5, "peak": 3.0}


def changed(number: int, *doses: dict[str, Any]) -> Any:
    """A healthy scan with lesions in it, that the model found as told, and no other method."""
    healthy = [record for record in RECORDS if not record.labeled][number]
    methods = {n: replace(of, doses=list(doses) if n == "model" else []) for n, of in healthy.methods.items()}
    return replace(healthy, id=f"{healthy.id}+lesions", corruption=IMPLANTED, severity=1, methods=methods)


EVERY = [
    *RECORDS,
    changed(0, dose(5.0, 0.1, False), dose(20.0, 0.45, True)),
    changed(1, dose(5.0, 0.1, True, True), dose(20.0, 0.45, True)),
]


def test_lesions_are_counted_by_size_and_contrast() -> None:
    found = {(d["method"], d["diameter_mm"], d["contrast"]): d for d in summarize_doses(EVERY)}
    assert len(found) == 3 * len(DIAMETERS_MM) * len(CONTRASTS)
    small, large, none = found["model", 5.0, 0.1], found["model", 20.0, 0.45], found["random", 5.0, 0.1]
    assert (small["lesions"], small["found"], small["without"], small["ml"]) == (2, 1, 1, 0.5)
    assert (large["lesions"], large["found"], large["without"]) == (2, 2, 0)
    assert (none["lesions"], none["ml"]) == (0, None)
    assert summarize_doses(RECORDS) == []


def test_the_summary_has_them_apart_from_faults_of_the_acquisition(tmp_path: Path) -> None:
    summary = summarize(EVERY, lambda *key: COUNTS[key])
    groups = {group["dataset"]: group for group in summary["groups"]}
    assert groups["ixi"]["doses"] and not groups["ixi"]["shifts"] and groups["ixi"]["healthy_scans"] == 4
    assert groups["mslub"]["doses"] == [] and table(groups["mslub"]).rows == []
    shown = table(groups["ixi"])
    row = dict(zip(shown.heads, shown.rows[0], strict=True))
    assert (row["Method"], row["Diameter (mm)"], row["Contrast 0.1"]) == ("model", "5", "1 of 2 (50 %)")
    assert row["Without"] == "1 of 2 (50 %)" and row["ml"] == "0.50"
    write_csv(rows(summary), COLUMNS, tmp_path / "doses.csv")
    with (tmp_path / "doses.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert tuple(written[0]) == COLUMNS and len(written) == 3 * len(DIAMETERS_MM) * len(CONTRASTS)
    assert (written[0]["dataset"], written[0]["found"], written[0]["lesions"]) == ("ixi", "1", "2")
    assert not list(rows(summarize(RECORDS, lambda *key: COUNTS[key])))
