"""What ``conddiffusion-uad evaluate`` does: find the cases, check them, evaluate them, report."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence

from conddiffusion_uad.app.console import clock, show
from conddiffusion_uad.app.progress_line import ProgressLine
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation import datasets, experiment
from conddiffusion_uad.evaluation.case_run import Settings
from conddiffusion_uad.evaluation.cases import Case
from conddiffusion_uad.evaluation.checks import case_checks
from conddiffusion_uad.evaluation.checks.trained_on import TrainedOn
from conddiffusion_uad.evaluation.datasets.selection import some
from conddiffusion_uad.evaluation.measure import Rule
from conddiffusion_uad.evaluation.methods import BASELINES
from conddiffusion_uad.evaluation.paper import report as paper_report
from conddiffusion_uad.evaluation.paper import run as paper_run
from conddiffusion_uad.evaluation.paper.run import PaperSettings
from conddiffusion_uad.evaluation.reporting import report as reporting
from conddiffusion_uad.evaluation.robustness import report as robustness_report
from conddiffusion_uad.evaluation.robustness import trials as robustness
from conddiffusion_uad.evaluation.robustness.trials import RobustnessSettings
from conddiffusion_uad.evaluation.tasks import Show
from conddiffusion_uad.protocol.failures import RESEARCH_USE, BadInput


def run(arguments: argparse.Namespace) -> None:
    """Carry out the command. Raises Failure."""
    names = tuple(arguments.bundle or ["default"])
    _check(arguments, names)
    loaded = [bundles.load(name) for name in names]
    contrasts = arguments.contrast or loaded[0].config.contrasts
    line = ProgressLine()
    cases = _checked(some(datasets.find(arguments.datasets, contrasts), arguments.most), loaded, arguments, line)
    if arguments.robustness:
        settings = _robustness_settings(arguments, names[0])
        evaluate, report = robustness.evaluate, robustness_report.report
    elif arguments.protocol == paper_run.PROTOCOL:
        settings, evaluate, report = _paper_settings(arguments, names), paper_run.evaluate, paper_report.report
    else:
        settings, evaluate, report = _settings(arguments, names[0]), experiment.evaluate, reporting.report
    experiment.open_folder(arguments.output, settings.to_json(), _command(), anew=arguments.force)
    evaluate(cases, settings, arguments.output, jobs=arguments.jobs, show=_progress(line))
    line.clear()
    show(f"{report(arguments.output)}\n{RESEARCH_USE}.")


def _check(arguments: argparse.Namespace, names: Sequence[str]) -> None:
    if len(names) > 1 and arguments.protocol != paper_run.PROTOCOL:
        raise BadInput("bad_option", "Several bundles are for --protocol paper.", "Evaluate one bundle at a time.")
    if arguments.robustness and (arguments.maps or arguments.protocol == paper_run.PROTOCOL):
        raise BadInput("bad_option", "--robustness runs the bundle, by the native protocol.", "Leave the other out.")
    if arguments.maps_threshold is not None and (arguments.maps is None or arguments.maps_threshold <= 0):
        raise BadInput("bad_option", "--maps-threshold is above 0 and goes with --maps.", "Say both, or neither.")
    if not 0 < arguments.healthy_flagged < 1:
        raise BadInput("bad_option", "--healthy-flagged is between 0 and 1.", "0.01 is usual.")
    if arguments.jobs < 1 or arguments.min_volume_ml < 0 or (arguments.most is not None and arguments.most < 1):
        raise BadInput("bad_option", "--jobs and --most are 1 or more, --min-volume-ml is not negative.", "")


def _checked(
    cases: list[Case], loaded: Sequence[Bundle], arguments: argparse.Namespace, line: ProgressLine
) -> list[Case]:
    """The cases that can be used; what is to be known about them is told before anything takes long."""
    found = []
    for bundle in loaded:
        trained_on = TrainedOn.of(bundle, arguments.trained_on)
        found += case_checks.problems(cases, trained_on, allow_trained=arguments.allow_trained)
    found = list(dict.fromkeys(found))
    if any(problem.fatal for problem in found) and not arguments.skip_bad:
        raise case_checks.failure(found)
    if found:
        line.say(f"To be known before the evaluation:\n{case_checks.told(found)}")
    usable = case_checks.usable(cases, found)
    if not usable:
        raise BadInput("no_cases", "No scan is left that can be evaluated.", "See the list of problems.")
    return usable


def _paper_settings(arguments: argparse.Namespace, names: tuple[str, ...]) -> PaperSettings:
    return PaperSettings(names, arguments.device, arguments.skull, arguments.seed)


def _robustness_settings(arguments: argparse.Namespace, bundle: str) -> RobustnessSettings:
    """Its baselines are its own: each costs a run on every changed scan."""
    try:
        severities = tuple(int(each) for each in arguments.severities.split(","))
    except ValueError:
        raise BadInput("bad_option", f"--severities cannot be {arguments.severities!r}.", "Such as 1,3,5.") from None
    own = {"baselines": RobustnessSettings.baselines, "severities": severities}
    return RobustnessSettings(**{**vars(_settings(arguments, bundle)), **own})


def _settings(arguments: argparse.Namespace, bundle: str) -> Settings:
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


def _progress(line: ProgressLine) -> Show:
    """Shows how many cases are done and how long the rest will take, judged by those of this run."""
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
