"""Train each row of docs/METHODS.md with the same data and budget, and judge it on the same scans.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/methods_rows.py \
        --data TRAIN --val VAL --work DIR [--rows NAME,...] [--samples N] [--most N] [--device cpu]

Each row is one recipe. What is done is kept in DIR, a folder for each row: a training goes on from its checkpoint, an
evaluation from its records, and a row that has its figures is not touched again; so the command may be stopped at any
time and given again. The figures of all rows, ``DIR/figures.json``, are what ``methods_document.py`` writes the table
from.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conddiffusion_uad.app.cli import main as program
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.training import recipe as recipes

FIGURES = "figures.json"
SHIPPED = "residual"  # the bundle whose method, the residual map, most of the rows share


def rows() -> list[str]:
    """The recipes of the table: the one that the others are based on, and these."""
    based = [path for path in sorted(recipes.SHIPPED.glob("*.toml")) if recipes.BASE in path.read_text("utf-8")]
    return ["trial", *(path.stem for path in based)]


def run(row: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train, calibrate and judge a row as far as that is not done. Raises SystemExit when a step fails."""
    folder = options.work / row
    kept = folder / FIGURES
    if kept.is_file():
        return json.loads(kept.read_text("utf-8"))
    bundle = folder / "bundle"
    common = ["--data", str(options.data), "--device", options.device]
    if not (bundle / bundles.RECIPE).is_file():
        budget = ["--set", f"fit.samples={options.samples}", *(f"--set={change}" for change in options.set)]
        _step("train", "fit", "--recipe", row, "--output", str(bundle), *budget, *common)
    if not (bundle / bundles.CALIBRATION).is_file():
        _step("train", "calibrate", str(bundle), *common)
    return _judged(str(bundle), row, options, baselines="none")


def shipped(options: argparse.Namespace) -> dict[str, Any]:
    """Judge the shipped bundle of that method, and the baselines that need no training."""
    kept = options.work / SHIPPED / FIGURES
    return json.loads(kept.read_text("utf-8")) if kept.is_file() else _judged(SHIPPED, SHIPPED, options, "all")


def _judged(bundle: str, row: str, options: argparse.Namespace, baselines: str) -> dict[str, Any]:
    output = options.work / row / "evaluation"
    most = ["--most", str(options.most)] if options.most else []
    asked = ["--bundle", bundle, "--output", str(output), "--baselines", baselines, "--device", options.device]
    _step("evaluate", *map(str, options.val), *asked, *most)
    summary = json.loads((output / "summary.json").read_text("utf-8"))
    loaded = bundles.load(bundle)
    figures = {
        "parameters": sum(values.numel() for values in loaded.model.parameters()),
        "samples": None if bundle == SHIPPED else options.samples,
        "groups": [_group(group) for group in summary["groups"]],
    }
    (options.work / row / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return figures


def _group(group: Mapping[str, Any]) -> dict[str, Any]:
    """What the table shows of a data set and contrast."""
    seconds = group["seconds"]
    return {
        **{name: group[name] for name in ("dataset", "contrast", "scans", "labeled_scans", "healthy_scans")},
        "prevalence": group["prevalence"]["mean"],
        "seconds": seconds["total"]["mean"] if "total" in seconds else None,
        "reconstruct_s": seconds["reconstruct"]["mean"] if "reconstruct" in seconds else None,
        "peak_memory_mb": group["peak_memory_mb"],
        "methods": {
            name: {
                "average_precision": of["average_precision"]["mean"],
                "flagged": of["healthy"]["flagged_fraction"]["mean"],
                "findings": of["healthy"]["false_findings"]["mean"],
            }
            for name, of in group["methods"].items()
        },
    }


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
    add("--rows", default=",".join(rows()), metavar="NAME,...", help="which (default: %(default)s)")
    add("--samples", type=int, default=8_000, metavar="N", help="slices that each learns from (default: %(default)s)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="of every recipe, as in train fit")
    add("--most", type=int, metavar="N", help="patients, or slices, of each data set (default: all)")
    add("--device", default="auto", help="what computes (default: %(default)s)")
    options = parser.parse_args(arguments)
    if unknown := [row for row in options.rows.split(",") if row not in rows()]:
        parser.error(f"there is no row {', '.join(unknown)}; rows are {', '.join(rows())}")
    found = {SHIPPED: shipped(options)}
    for row in options.rows.split(","):
        found[row] = run(row, options)
        (options.work / FIGURES).write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
