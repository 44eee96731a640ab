"""What ``conddiffusion-uad evaluate`` does: find the scans, check them, evaluate them, report."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from conddiffusion_uad.app.console import clock, show
from conddiffusion_uad.app.progress_line import ProgressLine
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation import experiment
from conddiffusion_uad.evaluation.data import checks, find
from conddiffusion_uad.evaluation.data.cases import Case
from conddiffusion_uad.evaluation.data.trained_on import TrainedOn
from conddiffusion_uad.evaluation.methods import BASELINES
from conddiffusion_uad.evaluation.report import report
from conddiffusion_uad.evaluation.settings import NATIVE, PUBLISHED, SHIFTS, Rule, Settings
from conddiffusion_uad.evaluation.shifts.corruption import SEVERITIES
from conddiffusion_uad.evaluation.tasks import Show
from conddiffusion_uad.protocol.failures import RESEARCH_USE, BadInput
from conddiffusion_uad.protocol.job import USUAL_BUNDLE, USUAL_FLAGGED
from conddiffusion_uad.training.data.data_checks import failure, told

COSTLESS = "rank-normalized intensity"
"""What a bundle is compared with on changed scans, unless more is asked for: each baseline costs a run of each."""


def run(arguments: argparse.Namespace) -> None:
    """Carry out the command. Raises Failure."""
    settings = settings_of(arguments)
    loaded = [bundles.load(name) for name in settings.bundles]
    line = ProgressLine()
    found = find.find(arguments.datasets, arguments.contrast or loaded[0].config.contrasts)
    cases, noted = _checked(find.some(found, arguments.most), loaded, arguments)
    if settings.dose_response and all(case.truth is not None for case in cases):
        raise BadInput("no_cases", "--dose-response needs healthy scans, and all have labels.", "Add healthy ones.")
    if noted:
        line.say("\n".join(["To be known before the evaluation:", *noted]))
    command = shlex.join(["conddiffusion-uad", *sys.argv[1:]])
    experiment.open_folder(arguments.output, settings.to_json(), command, noted=noted, anew=arguments.force)
    experiment.evaluate(cases, settings, arguments.output, jobs=arguments.jobs, show=_progress(line))
    line.clear()
    show(f"{report(arguments.output)}\n{RESEARCH_USE}.")


def settings_of(arguments: argparse.Namespace) -> Settings:
    """What is asked for. Raises BadInput("bad_option") when that makes no sense."""
    _check(arguments)
    published = arguments.protocol == PUBLISHED
    try:
        asked = arguments.severities
        severities = SEVERITIES if asked is None else tuple(int(each) for each in asked.split(","))
    except ValueError:
        raise BadInput("bad_option", f"--severities cannot be {arguments.severities!r}.", "Such as 1,3,5.") from None
    usual = COSTLESS if _changes(arguments) else "all"
    return Settings(
        bundles=tuple(arguments.bundle or [USUAL_BUNDLE]),
        protocol=arguments.protocol,
        baselines=() if published else _baselines(arguments.baselines or usual),
        rule=Rule(arguments.healthy_flagged, arguments.min_volume_ml),
        maps=arguments.maps,
        maps_threshold=arguments.maps_threshold,
        device=arguments.device,
        precision=arguments.precision,
        skull=arguments.skull,
        seed=arguments.seed,
        shifts=SHIFTS if arguments.robustness else (),
        severities=severities,
        dose_response=arguments.dose_response,
        adversarial=arguments.adversarial,
    ).resolved()


def _check(arguments: argparse.Namespace) -> None:
    published, few = arguments.protocol == PUBLISHED, len(arguments.bundle or ()) < 2
    threshold, maps, flagged = arguments.maps_threshold, arguments.maps, arguments.healthy_flagged
    changed, other = _changes(arguments), "Leave the other out."
    _require(few or published, f"Several bundles are for --protocol {PUBLISHED}.", "Evaluate one bundle at a time.")
    running = f"--robustness, --dose-response and --adversarial run the bundle, by the protocol {NATIVE}."
    _require(not (changed and (maps or published)), running, other)
    of_faults = arguments.severities is None or arguments.robustness
    _require(of_faults, "--severities are those of --robustness.", "Say both, or neither.")
    plain = flagged is None and arguments.baselines in (None, "none")
    _require(not published or plain, f"--baselines and --healthy-flagged are for the protocol {NATIVE}.", other)
    _require(not (published and maps), f"--maps are judged by the protocol {NATIVE}.", other)
    _require(maps is None or Path(maps).is_dir(), f"There is no folder {maps}.", "--maps is a folder of heatmaps.")
    together = threshold is None or (maps is not None and threshold > 0)
    _require(together, "--maps-threshold is above 0 and goes with --maps.", "Say both, or neither.")
    _require(flagged is None or 0 < flagged < 1, "--healthy-flagged is between 0 and 1.", f"Such as {USUAL_FLAGGED}.")
    whole = arguments.jobs >= 1 and arguments.min_volume_ml >= 0 and (arguments.most is None or arguments.most >= 1)
    _require(whole, "--jobs and --most are 1 or more, --min-volume-ml is not negative.", "")


def _require(sound: bool, message: str, hint: str) -> None:
    if not sound:
        raise BadInput("bad_option", message, hint)


def _changes(arguments: argparse.Namespace) -> bool:
    """Whether scans are also tried in changed forms."""
    return arguments.robustness or arguments.dose_response or arguments.adversarial


def _checked(
    cases: list[Case], loaded: Sequence[Bundle], arguments: argparse.Namespace
) -> tuple[list[Case], list[str]]:
    """The cases that can be used, and what is to be known about all of them before anything takes long."""
    found = []
    for bundle in loaded:
        trained_on = TrainedOn.of(bundle, arguments.trained_on)
        found += checks.problems(cases, trained_on, allow_trained=arguments.allow_trained)
    found = list(dict.fromkeys(found))
    if any(problem.fatal for problem in found) and not arguments.skip_bad:
        raise failure(found, "evaluation")
    usable = checks.usable(cases, found)
    if not usable:
        raise BadInput("no_cases", "No scan is left that can be evaluated.", "See the list of problems.")
    return usable, told(found)


def _baselines(asked: str) -> tuple[str, ...]:
    if asked in ("all", "none"):
        return tuple(BASELINES) if asked == "all" else ()
    names = tuple(name.strip() for name in asked.split(","))
    if unknown := [name for name in names if name not in BASELINES]:
        raise BadInput("bad_option", f"There is no baseline {unknown[0]!r}.", f"Known: {', '.join(BASELINES)}.")
    return names


def _progress(line: ProgressLine) -> Show:
    """Shows how many scans are done and how long the rest will take, judged by those of this run."""
    begin, earlier = time.monotonic(), -1

    def progress(done: int, total: int, said: str) -> None:
        nonlocal earlier
        earlier = done - 1 if earlier < 0 else earlier
        left = (time.monotonic() - begin) / (done - earlier) * (total - done)
        text = f"{done}/{total}  {clock(left)} left"
        if said or not line.live:
            line.say(said or text)
        line.draw("Evaluating", done / total, text)

    return progress
