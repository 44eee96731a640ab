"""Train each row of docs/METHODS.md with the same data and budget, and judge it on the same scans.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/methods_rows.py \
        --data TRAIN --val VAL --work DIR --measured SCAN [--rows NAME,...] [--samples N] [--most N] [--device cpu]

Each row is one recipe. Rows that differ only in what training does not see (how a scan is restored and scored) share
one training. The scans are prepared once, for all rows. What is done is kept in DIR, a folder for each row: a training
goes on from its checkpoint, and a row that has its figures is not touched again; so the command may be stopped at any
time and given again. ``methods_document.py`` writes the table from the figures of all rows, ``DIR/figures.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from conddiffusion_uad.app.cli import main as program
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.evaluation.data import find
from conddiffusion_uad.evaluation.data.cases import Examined, examine
from conddiffusion_uad.evaluation.measure import Ground
from conddiffusion_uad.evaluation.methods import BASELINES, Scored, baseline_maps, model_map, run_model
from conddiffusion_uad.evaluation.settings import Settings
from conddiffusion_uad.model.device import choose
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training import recipe as recipes

FIGURES = "figures.json"
BASE = "trial"  # the recipe that the others are based on
LEARNS_FROM_LABELS = "lesion-simulator"  # what draws its anomalies does: it is no row among those that never saw any
SHIPPED = ("residual", "learned", "published-map")  # the first has the method of most rows, and the baselines beside it


def rows() -> list[str]:
    """The recipes that are trained for the table: the one that others are based on, and these, but for some."""
    based = [path for path in sorted(recipes.SHIPPED.glob("*.toml")) if recipes.BASE in path.read_text("utf-8")]
    return [BASE, *(path.stem for path in based if path.stem not in (*SHIPPED, LEARNS_FROM_LABELS))]


class Judge:
    """Scans that are prepared once, when the first bundle is judged on them.

    Args:
        options: Of the command: which scans, what computes.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._examined: list[Examined] | None = None

    def __call__(self, bundle: bundles.Bundle, baselines: Sequence[str] = ()) -> list[dict[str, Any]]:
        """What the table shows of each data set and contrast."""
        if self._examined is None:
            cases = find.some(find.find(self._options.val, CONTRASTS), self._options.most)
            self._examined = [examine(case, bundle.config.grid, device=choose(self._options.device)) for case in cases]
        judged: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for examined in self._examined:
            judged[examined.case.dataset, examined.case.contrast].append(_judged(examined, bundle, baselines))
        return [_group(*key, scans) for key, scans in judged.items()]


def _judged(examined: Examined, bundle: bundles.Bundle, baselines: Sequence[str]) -> dict[str, Any]:
    """What the bundle, and each baseline, does in a scan."""
    settings = Settings(baselines=tuple(baselines))
    begin = time.perf_counter()
    scored = run_model(examined, bundle, settings.seed)
    first = model_map(examined, scored, settings.rule.threshold_of(bundle, examined.case.contrast))
    seconds = time.perf_counter() - begin
    ground = Ground.of(examined, settings.rule)

    def figures(of: Scored) -> dict[str, Any]:
        found, _ = ground.measure(of)
        return {name: getattr(found, name) for name in ("average_precision", "flagged_fraction", "false_findings")}

    return {
        "healthy": examined.case.truth is None,
        "prevalence": None if examined.case.truth is None else float(ground.truth.sum() / ground.brain.sum()),
        "seconds": seconds,
        "methods": {each.name: figures(each) for each in (first, *baseline_maps(examined, bundle, settings))},
    }


def _group(dataset: str, contrast: str, scans: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The means over the scans of a data set and contrast."""
    healthy = [scan for scan in scans if scan["healthy"]]

    def mean(of: Iterable[float | None]) -> float | None:
        known = [value for value in of if value is not None]
        return float(np.mean(known)) if known else None

    return {
        "dataset": dataset,
        "contrast": contrast,
        "scans": len(scans),
        "healthy_scans": len(healthy),
        "prevalence": mean(scan["prevalence"] for scan in scans),
        "seconds": mean(scan["seconds"] for scan in scans),
        "methods": {
            name: {
                "average_precision": mean(scan["methods"][name]["average_precision"] for scan in scans),
                "flagged": mean(scan["methods"][name]["flagged_fraction"] for scan in healthy),
                "findings": mean(scan["methods"][name]["false_findings"] for scan in healthy),
            }
            for name in scans[0]["methods"]
        },
    }


def run(row: str, options: argparse.Namespace, judge: Judge) -> dict[str, Any]:
    """Train, calibrate and judge a row as far as that is not done. Raises SystemExit when a step fails."""
    folder = options.work / row
    kept = folder / FIGURES
    if kept.is_file():
        return json.loads(kept.read_text("utf-8"))
    if row in SHIPPED:
        return _figures(row, row, options, judge, tuple(BASELINES) if row == SHIPPED[0] else ())
    bundle = folder / "bundle"
    common = ["--data", str(options.data), "--device", options.device]
    if not (bundle / bundles.RECIPE).is_file():
        changes = [f"fit.samples={options.samples}", *options.set]
        same = next((other for other in _done(options) if _same_training(row, other, changes)), None)
        if same is None:
            sets = [f"--set={change}" for change in changes]
            _step("train", "fit", "--recipe", row, "--output", str(bundle), *sets, *common)
        else:
            _take_over(options.work / same / "bundle", row, changes, bundle)
    if not (bundle / bundles.CALIBRATION).is_file():
        _step("train", "calibrate", str(bundle), *common)
    return _figures(row, str(bundle), options, judge)


def _done(options: argparse.Namespace) -> Iterator[str]:
    """Rows that are trained."""
    return (row for row in rows() if (options.work / row / "bundle" / bundles.CALIBRATION).is_file())


def _same_training(row: str, other: str, changes: Sequence[str]) -> bool:
    """Whether two recipes teach the same network the same thing from the same slices."""
    mine, its = (recipes.load(name, changes) for name in (row, other))
    unvalidated = {"validation"} if mine.validation.every == its.validation.every == 0 else set()
    return (
        _differing(mine, its) <= {"name", "text", "bundle"} | unvalidated
        and _differing(mine.bundle, its.bundle) <= {"method"}
        and _differing(mine.bundle.method, its.bundle.method) <= {"restore", "anomaly_map", "adapt"}
    )


def _differing(first: Any, second: Any) -> set[str]:
    """Names of the fields in which two dataclasses of a kind differ."""
    return {field.name for field in fields(first) if getattr(first, field.name) != getattr(second, field.name)}


def _take_over(trained: Path, row: str, changes: Sequence[str], output: Path) -> None:
    """Write the bundle of a row with the networks of another one."""
    recipe, source = recipes.load(row, changes), bundles.load(str(trained))
    output.mkdir(parents=True, exist_ok=True)
    told = {key: value for key, value in source.metadata.items() if key != "sha256"}  # of that bundle
    bundles.save(output, recipe.bundle, source.trainable, told)
    (output / bundles.RECIPE).write_text(recipe.text, encoding="utf-8", newline="\n")


def _figures(row: str, name: str, options: argparse.Namespace, judge: Judge, baselines=()) -> dict[str, Any]:
    bundle = bundles.load(name).to(choose(options.device))
    seconds, memory = _detection(name, options.measured, options.work / row / "detection", options.device)
    figures = {
        "parameters": sum(values.numel() for values in bundle.trainable.parameters()),
        "samples": None if row in SHIPPED else options.samples,
        "seconds": seconds,
        "peak_memory_mb": memory,
        "groups": judge(bundle, baselines),
    }
    (options.work / row / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return figures


def _detection(bundle: str, scan: Path, output: Path, device: str) -> tuple[float, float]:
    """Seconds and largest memory, MB, of one detection in a process of its own."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "conddiffusion_uad", "detect", str(scan), "--output", str(output)]
    subprocess.run([*command, "--bundle", bundle, "--device", device], check=True, stdout=subprocess.DEVNULL)
    report = json.loads((output / "report.json").read_text("utf-8"))
    return report["seconds"]["total"], report["peak_memory_mb"]


def _step(*arguments: str) -> None:
    print("conddiffusion-uad", *arguments, file=sys.stderr, flush=True)
    if code := program(arguments):
        raise SystemExit(code)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do the rows, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="training data of the recipe trial")
    add("--val", nargs="+", required=True, metavar="[LAYOUT:]DIR", help="scans to judge on, as evaluate takes them")
    add("--work", type=Path, required=True, metavar="DIR", help="where everything is kept")
    add("--measured", type=Path, required=True, metavar="SCAN", help="that seconds and memory are measured on")
    add("--rows", default=",".join(rows()), metavar="NAME,...", help="which (default: %(default)s)")
    add("--samples", type=int, default=8_000, metavar="N", help="slices that each learns from (default: %(default)s)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="of every recipe, as in train fit")
    add("--most", type=int, metavar="N", help="patients, or slices, of each data set (default: all)")
    add("--device", default="auto", help="what computes (default: %(default)s)")
    options = parser.parse_args(arguments)
    if unknown := [row for row in options.rows.split(",") if row not in rows()]:
        parser.error(f"there is no row {', '.join(unknown)}; rows are {', '.join(rows())}")
    judge, found = Judge(options), {}
    for row in (*SHIPPED, *options.rows.split(",")):
        found[row] = run(row, options, judge)
        (options.work / FIGURES).write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
