"""docs/METHODS.md is what its script writes, and the study does a row once."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import methods_document as document
import methods_rows as rows
import pytest
from torch import nn


def group(average_precision: float | None = 0.5) -> dict[str, Any]:
    """Figures of a data set, as an evaluation's summary has them."""

    def interval(mean: float | None) -> dict[str, Any]:
        return {"mean": mean, "low": None, "high": None, "n": 3}

    method = {
        "average_precision": interval(average_precision),
        "healthy": {"flagged_fraction": interval(0.012), "false_findings": interval(3.4)},
    }
    return {
        "dataset": "mslub",
        "contrast": "T2",
        "scans": 3,
        "labeled_scans": 2,
        "healthy_scans": 1,
        "prevalence": interval(0.021),
        "seconds": {"total": interval(12.3), "reconstruct": interval(4.5)},
        "peak_memory_mb": 900.0,
        "methods": {"model": method},
    }


def test_the_document_is_what_the_script_writes() -> None:
    assert document.DOCUMENT.read_text("utf-8") == document.document(), (
        "Write it again: see Testing/studies/methods_document.py"
    )


def test_the_table_shows_what_was_measured_and_names_what_was_not() -> None:
    of = {"parameters": 1_230_000, "samples": 8000, "groups": [rows._group(group())]}
    other = {**of, "groups": [rows._group(group(None))]}
    text = "\n".join(document._table({rows.SHIPPED: {**of, "samples": None}, "trial": of, "dae": other}))
    assert "| `trial` | 8,000 | 0.500 | 1.20% | 3.4 | 12.3 | 900 | 1.23 M |" in text
    assert "| `dae` | 8,000 |  | 1.20% |" in text and "### mslub T2" in text and "2.1% of the brain" in text
    (missing,) = (line for line in text.splitlines() if line.startswith("Not measured yet"))
    assert "`pddpm`" in missing and "`dae`" not in missing and "`trial`" not in missing
    assert "No figure" not in text and "No figure" in "\n".join(document._table({}))


def test_a_row_that_has_its_figures_is_left_alone_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def program(arguments: tuple[str, ...]) -> int:
        asked.append(arguments)
        if arguments[0] == "evaluate":
            output = Path(arguments[arguments.index("--output") + 1])
            output.mkdir(parents=True)
            (output / "summary.json").write_text(json.dumps({"groups": [group()]}))
        return 0

    monkeypatch.setattr(rows, "program", program)
    monkeypatch.setattr(rows.bundles, "load", lambda _: SimpleNamespace(model=nn.Linear(2, 1)))
    recipe = tmp_path / "pddpm" / "bundle" / "configs" / "recipe.toml"
    recipe.parent.mkdir(parents=True)
    recipe.touch()  # fitted already
    common = ["--data", "d", "--val", "v", "--work", str(tmp_path), "--rows", "pddpm,dae", "--samples", "16"]
    rows.main(common)
    steps = [(arguments[0], *arguments[1:2]) for arguments in asked]
    assert steps == [
        ("evaluate", "v"),
        ("train", "calibrate"),
        ("evaluate", "v"),
        ("train", "fit"),
        ("train", "calibrate"),
        ("evaluate", "v"),
    ]
    rows.main(common)
    assert len(asked) == 6
    figures = json.loads((tmp_path / rows.FIGURES).read_text())
    assert list(figures) == [rows.SHIPPED, "pddpm", "dae"] and figures["dae"]["samples"] == 16
    assert figures["dae"]["parameters"] == 3
    assert figures["dae"]["groups"][0]["methods"]["model"]["average_precision"] == 0.5
    with pytest.raises(SystemExit):
        rows.main([*common[:-3], "diad"])


def test_a_step_that_fails_ends_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "program", lambda arguments: 2)
    with pytest.raises(SystemExit):
        rows.main(["--data", "d", "--val", "v", "--work", str(tmp_path)])
    assert not (tmp_path / rows.SHIPPED / rows.FIGURES).exists()
