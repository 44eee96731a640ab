"""The panel of worst cases has the means over scans, by aim and size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from synthetic_evaluation import evaluation

from conddiffusion_uad.evaluation.reporting.attacks import summarize_attacks, table
from conddiffusion_uad.evaluation.reporting.summary import summarize
from conddiffusion_uad.evaluation.shifts.adversarial import SIZES, WORST

RECORDS, COUNTS = evaluation()


def attacked(number: int, aim: str, usual: float) -> Any:
    record = [record for record in RECORDS if record.labeled][number]
    found = {"usual": usual, "random": usual + 0.001, "worst": usual + 0.02, "similarity": 0.99}
    attacks = [{"aim": aim, "size": size, **found} for size in SIZES]
    return replace(record, id=f"{record.id}+worst", corruption=WORST, methods={}, attacks=attacks)


EVERY = [*RECORDS, attacked(0, "false alarm", 0.02), attacked(1, "false alarm", 0.04)]


def test_the_means_are_over_scans_and_only_over_what_was_tried() -> None:
    found = summarize_attacks(EVERY)
    assert [(each["aim"], each["size"]) for each in found] == [("false alarm", size) for size in SIZES]
    assert found[0]["usual"]["mean"] == pytest.approx(0.03) and found[0]["worst"]["mean"] == pytest.approx(0.05)
    assert summarize_attacks(RECORDS) == []


def test_the_summary_has_them_apart_from_other_changes() -> None:
    groups = {group["dataset"]: group for group in summarize(EVERY, lambda *key: COUNTS[key])["groups"]}
    assert groups["mslub"]["attacks"] and not groups["mslub"]["shifts"] and groups["mslub"]["labeled_scans"] == 8
    assert groups["ixi"]["attacks"] == [] and table(groups["ixi"]).rows == []
    assert table(groups["mslub"]).rows[0] == ["false alarm", "0.5 / 255", "0.0300", "0.0310", "0.0500", "0.9900"]
