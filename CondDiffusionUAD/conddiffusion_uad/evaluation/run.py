"""What ``conddiffusion-uad evaluate`` does: find the cases, check them, evaluate them, report."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from conddiffusion_uad.console import clock, show
from conddiffusion_uad.evaluation import case_checks, datasets, experiment, paper_run, reporting
from conddiffusion_uad.evaluation.case_run import Settings
from conddiffusion_uad.evaluation.cases import Case, some
from conddiffusion_uad.evaluation.measure import Rule
from conddiffusion_uad.evaluation.methods import BASELINES
from conddiffusion_uad.evaluation.paper_run import PaperSettings
from conddiffusion_uad.model import bundle as bundles
from conddiffusion_uad.progress_line import ProgressLine
from conddiffusion_uad.protocol import RESEARCH_USE, BadInput


def run(arguments: argparse.Namespace) -> None:
    """Carry out the command. Raises Failure."""
    names = arguments.bundle or ["default"]
    if len(names) > 1 and arguments.protocol != paper_run.PROTOCOL:
        raise BadInput("bad_option", "Several bundles are for --protocol paper.", "Evaluate one bundle at a time.")
    loaded = [bundles.load(name) for name in names]
    contrasts = arguments.contrast or loaded[0].config.contrasts
    cases = some(datasets.find(arguments.datasets, contrasts), arguments.most)
    line = ProgressLine()
    cases = case_checks.accepted(cases, loaded, allow_trained=arguments.allow_trained, say=line.say)
    show_progress = _progress(line)
    if arguments.protocol == paper_run.PROTOCOL:
        settings = PaperSettings(tuple(names), arguments.device, arguments.skull, arguments.seed)
        experiment.open_folder(arguments.output, settings.to_json(), _command(), anew=arguments.force)
        paper_run.run(cases, settings, arguments.output, jobs=arguments.jobs, show=show_progress)
    else:
        settings = _settings(arguments, names[0])
        experiment.open_folder(arguments.output, settings.to_json(), _command(), anew=arguments.force)
        experiment.evaluate(cases, settings, arguments.output, jobs=arguments.jobs, show=show_progress)
    line.clear()
    show(reporting.report(arguments.output))
    show(f"{RESEARCH_USE}.")


def _settings(arguments: argparse.Namespace, bundle: str) -> Settings:
    if arguments.maps_threshold is not None and (arguments.maps is None or arguments.maps_threshold <= 0):
        raise BadInput("bad_option", "--maps-threshold is a number above 0 and goes with --maps.", "See --help.")
    if not 0 < arguments.healthy_flagged < 1 or arguments.min_volume_ml < 0:
        raise BadInput("bad_option", "--healthy-flagged is between 0 and 1, --min-volume-ml not negative.", "")
    return Settings(
        bundle=bundle,
        baselines=_baselines(arguments.baselines),
        rule=Rule(arguments.healthy_flagged, arguments.min_volume_ml),
        maps=arguments.maps,
        maps_threshold=arguments.maps_threshold,
        device=arguments.device,
        skull=arguments.skull,
        seed=arguments.seed,
    )


def _baselines(asked: str) -> tuple[str, ...]:
    if asked in ("all", "none"):
        return BASELINES if asked == "all" else ()
    names = tuple(name.strip() for name in asked.split(","))
    if unknown := [name for name in names if name not in BASELINES]:
        raise BadInput("bad_option", f"There is no baseline {unknown[0]!r}.", f"Known: {', '.join(BASELINES)}.")
    return names


def _command() -> str:
    return shlex.join(["conddiffusion-uad", *sys.argv[1:]])


def _progress(line: ProgressLine):
    begin = time.monotonic()
    first: list[int] = []

    def progress(done: int, total: int, said: str) -> None:
        first.append(done - 1)
        left = (time.monotonic() - begin) / (done - first[0]) * (total - done)
        if said:
            line.say(said)
        elif not line.live:
            line.say(f"{done}/{total}  {clock(left)} left")
        line.draw("Evaluating", done / total, f"{done}/{total}  {clock(left)} left")

    return progress
