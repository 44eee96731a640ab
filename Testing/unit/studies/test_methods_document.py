"""docs/METHODS.md is what its script writes; the study does a row once, and a training once for all that share it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import methods_document as document
import methods_rows as rows
import pytest
import torch
from torch import nn

from conddiffusion_uad.training import recipe as recipes


def scan(average_precision: float | None = 0.5, healthy: bool = False) -> dict[str, Any]:
    """Figures of a scan."""
    judged = {"average_precision": average_precision, "flagged_fraction": 0.012, "false_findings": 3}
    methods = {"model": judged, "random": {**judged, "average_precision": None if healthy else 0.25}}
    return {"healthy": healthy, "prevalence": None if healthy else 0.021, "seconds": 4.5, "methods": methods}


def group(*scans: dict[str, Any]) -> dict[str, Any]:
    return rows._group("mslub", "T2", scans)


def test_the_document_is_what_the_script_writes() -> None:
    assert document.DOCUMENT.read_text("utf-8") == document.document(), (
        "Write it again: see Testing/studies/methods_document.py"
    )


def test_a_group_is_the_mean_of_its_scans_and_what_is_not_known_is_left_out() -> None:
    made = group(scan(0.5), scan(0.25), scan(None, healthy=True))
    assert (made["scans"], made["healthy_scans"], made["prevalence"]) == (3, 1, pytest.approx(0.021))
    assert made["methods"]["model"] == {"average_precision": 0.375, "flagged": 0.012, "findings": 3}
    assert group(scan(None))["methods"]["model"] == {"average_precision": None, "flagged": None, "findings": None}


def test_the_table_shows_what_was_measured_and_names_what_was_not() -> None:
    cost = {"parameters": 1_230_000, "samples": 8000, "seconds": 12.34, "peak_memory_mb": 899.6}
    of = {**cost, "groups": [group(scan(), scan(None, healthy=True))]}
    shipped, other = {**of, "samples": None}, {**of, "groups": [group(scan(None), scan(None, healthy=True))]}
    text = "\n".join(document._table({rows.SHIPPED[0]: shipped, "trial": of, "dae": other}))
    assert "| `trial` | 8,000 | 1.23 M | 12.3 | 900 |" in text and "| `residual` |  | 1.23 M |" in text
    precision, healthy = text[text.index("### Average") : text.index("### Healthy")], text[text.index("### Healthy") :]
    assert "mslub T2 (2)" in precision and "| 0.021 |" in precision
    assert "| `trial` | 0.500 |" in precision and "| random | 0.250 |" in precision and "| `dae` |  |" in precision
    assert "| `dae` | 3.0 (1.20%) |" in healthy
    (missing,) = (line for line in text.splitlines() if line.startswith("Not measured yet"))
    assert "`pddpm`" in missing and "`dae`" not in missing and "`trial`" not in missing
    assert "No figure" not in text and "No figure" in "\n".join(document._table({}))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The steps that are asked of the program, which does what one sees of them; nothing is detected or judged."""
    known: list[tuple[str, ...]] = []

    def program(arguments: tuple[str, ...]) -> int:
        known.append(arguments)
        folder = Path(arguments[arguments.index("--output") + 1] if arguments[1] == "fit" else arguments[2])
        made = folder / (rows.bundles.RECIPE if arguments[1] == "fit" else rows.bundles.CALIBRATION)
        made.parent.mkdir(parents=True, exist_ok=True)
        made.touch()
        return 0

    bundle = SimpleNamespace(model=nn.Linear(2, 1), trainable=nn.Linear(2, 1), metadata={"held_out": []})
    bundle.to = lambda _: bundle
    monkeypatch.setattr(rows, "program", program)
    monkeypatch.setattr(rows.bundles, "load", lambda _: bundle)
    monkeypatch.setattr(rows.bundles, "save", lambda folder, *_: (folder / "configs").mkdir(parents=True))
    monkeypatch.setattr(rows, "_detection", lambda *_: (1.5, 700.0))
    monkeypatch.setattr(rows.Judge, "__call__", lambda self, bundle, baselines=(): [group(scan())])
    return known


def asking(work: Path, names: str) -> list[str]:
    return f"--data d --val v --measured scan --work {work} --samples 16 --rows {names}".split()


def test_a_row_that_has_its_figures_is_left_alone_and_others_go_on(tmp_path: Path, asked: list) -> None:
    recipe = tmp_path / "pddpm" / "bundle" / rows.bundles.RECIPE
    recipe.parent.mkdir(parents=True)
    recipe.touch()  # fitted already
    for row in rows.SHIPPED:
        (tmp_path / row).mkdir()
    rows.main(asking(tmp_path, "pddpm,dae"))
    assert [arguments[1] for arguments in asked] == ["calibrate", "fit", "calibrate"]
    rows.main(asking(tmp_path, "pddpm,dae"))
    assert len(asked) == 3
    figures = json.loads((tmp_path / rows.FIGURES).read_text())
    assert list(figures) == [*rows.SHIPPED, "pddpm", "dae"]
    assert figures["dae"]["samples"] == 16 and figures["residual"]["samples"] is None
    assert (figures["dae"]["parameters"], figures["dae"]["seconds"]) == (3, 1.5)
    with pytest.raises(SystemExit):
        rows.main(asking(tmp_path, "diad"))


def test_rows_that_differ_only_in_restoring_and_scoring_share_a_training(tmp_path: Path, asked: list) -> None:
    for row in rows.SHIPPED:
        (tmp_path / row).mkdir()
    (tmp_path / "mahalanobis" / "bundle").mkdir(parents=True)  # the study was stopped before anything was written there
    rows.main(asking(tmp_path, "trial,cddpm,feature_space,mahalanobis,pddpm,severity"))
    steps = [
        (arguments[1], arguments[arguments.index("--recipe") + 1]) for arguments in asked if "--recipe" in arguments
    ]
    assert steps == [("fit", "trial"), ("fit", "cddpm"), ("fit", "pddpm"), ("fit", "severity")]
    written = (tmp_path / "mahalanobis" / "bundle" / rows.bundles.RECIPE).read_text("utf-8")
    assert 'kind = "mahalanobis"' in written and "samples = 16" in written


def test_a_bundle_with_the_networks_of_a_sealed_one_can_be_loaded(tmp_path: Path) -> None:
    config = recipes.load("trial").bundle
    rows.bundles.save(tmp_path / "trial", config, config.build(), {"held_out": ["a"], "name": "trial"})
    rows.bundles.seal(tmp_path / "trial")
    rows._take_over(tmp_path / "trial", "feature_space", ["fit.samples=16"], tmp_path / "taken")
    (trial, taken) = (rows.bundles.load(str(tmp_path / name)) for name in ("trial", "taken"))
    assert taken.metadata["held_out"] == ["a"] and taken.method.anomaly_map != trial.method.anomaly_map
    state = trial.trainable.state_dict()
    assert all(torch.equal(values, state[key]) for key, values in taken.trainable.state_dict().items())


def test_a_step_that_fails_ends_the_study(tmp_path: Path, asked: list, monkeypatch: pytest.MonkeyPatch) -> None:
    for row in rows.SHIPPED:
        (tmp_path / row).mkdir()
    monkeypatch.setattr(rows, "program", lambda arguments: 2)
    with pytest.raises(SystemExit):
        rows.main(asking(tmp_path, "trial"))
    assert not (tmp_path / "trial" / rows.FIGURES).exists()
