"""The subcommands of ``train``: ``lesions``, ``pretrain``, ``fit``, ``calibrate``, ``drift`` and ``severity``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from conddiffusion_uad.protocol.failures import EXIT_DONE
from conddiffusion_uad.protocol.job import CONTRASTS, PRECISIONS

HELP = "train a model on healthy scans"
DESCRIPTION = "Train a model on healthy scans: pre-train its encoder, fit it, calibrate it."
PRETRAIN = "let the encoder learn what healthy brains look like, by guessing masked patches"
LESIONS = "teach a diffusion model to draw lesions, from scans with outlined ones"
FIT = "fit a model to healthy scans"
DRIFT = "fit a copy of a bundle to another scanner, by one number found on a few healthy scans"
SEVERITY = "make a copy of a bundle that tells how sick a scan looks, learned from synthetic anomalies"
CALIBRATE = "measure the residuals of healthy scans the model has not seen"
RESUMES = "resumes where it was stopped"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of ``train``; each sets `command`, a function that takes the parsed arguments."""
    parser.set_defaults(command=_train)
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    lesions = _step(steps, "lesions", LESIONS, f"; {RESUMES}")
    pretrain = _step(steps, "pretrain", PRETRAIN, f"; {RESUMES}")
    fit = _step(steps, "fit", FIT, f"; {RESUMES}")
    calibrate = _step(steps, "calibrate", CALIBRATE)
    drift = _step(steps, "drift", DRIFT)
    severity = _step(steps, "severity", SEVERITY)
    for step, usual in ((lesions, "lesion-simulator"), (pretrain, "residual"), (fit, "residual")):
        _add_recipe(step.add_argument, usual)
    table = "CSV table with the columns scan and lesions (paths below --data), and contrast if names do not tell it"
    lesions.add_argument("--labels", type=Path, required=True, metavar="FILE", help=table)
    for step in (lesions, pretrain):
        made = "the .safetensors file to make, or a folder for it"
        step.add_argument("--output", type=Path, required=True, metavar="FILE", help=made)
    add = fit.add_argument
    add("--output", type=Path, required=True, metavar="DIR", help="the bundle to make")
    add("--encoder", type=Path, metavar="FILE", help="weights from `train pretrain` to start from (default: none)")
    drawn = "what `train lesions` made, to draw anomalies by (default: none)"
    add("--lesions", type=Path, metavar="FILE", help=drawn)
    same = "bundle with the same network to go on from (default: none)"
    add("--from", dest="start", metavar="NAME|PATH", help=same)
    add = calibrate.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="folder that `train fit` made")
    add("--gate-only", action="store_true", help="measure only what the input gate compares scans with")
    add = drift.add_argument
    add("bundle", metavar="NAME|PATH", help="bundle to fit")
    add("--contrast", default="auto", metavar="|".join(("auto", *CONTRASTS)), help="of the scans")
    add = severity.add_argument
    add("bundle", metavar="NAME|PATH", help="folder that `train fit` made; with --labels, any bundle")
    table = "CSV table with the columns scan (a path below --data) and sick (0 or 1) to learn from instead"
    add("--labels", type=Path, metavar="FILE", help=table)
    add("--contrast", metavar="|".join(("auto", *CONTRASTS)), help="of those scans (default: auto)")
    for step in (drift, severity):
        step.add_argument("--output", type=Path, required=True, metavar="DIR", help="the copy to make")
    for step in (calibrate, drift):
        known = "|".join(PRECISIONS)
        step.add_argument("--precision", default="auto", metavar=known, help="number format (default: auto)")
    for step in (lesions, pretrain, fit, calibrate, drift, severity):
        _add_environment(step.add_argument)


def _step(steps: Any, name: str, text: str, more: str = "") -> argparse.ArgumentParser:
    return steps.add_parser(name, help=text, description=f"{text.capitalize()}{more}.")


def _add_recipe(add: Callable[..., Any], usual: str) -> None:
    """The options of what learns step by step."""
    add("--recipe", default=usual, help="name of a shipped recipe or path of a TOML file (default: %(default)s)")
    change = "change a value of the recipe, such as fit.batch=8 or source.0.weight=0.5; may be repeated"
    add("--set", action="append", default=[], metavar="KEY=VALUE", help=change)
    between = "between two checkpoints (default: %(default)g)"
    add("--checkpoint-seconds", type=float, default=300.0, metavar="S", help=between)
    add("--tensorboard", type=Path, metavar="DIR", help="folder for TensorBoard's log")


def _add_environment(add: Callable[..., Any]) -> None:
    """The options of all steps."""
    add("--force", action="store_true", help="replace what is there already")
    place = "folder of the recipe's sources, or a datalist (.json, .csv); for drift and labels, of scans"
    add("--data", type=Path, required=True, metavar="DIR|FILE", help=place)
    add("--cache", type=Path, metavar="DIR", help="where prepared scans are kept (default: .cache beside the data)")
    add("--device", default="auto", help="auto, cuda[:N], mps or cpu")
    add("--skip-bad", action="store_true", help="go on without files that cannot be used, instead of listing them")


def _train(arguments: argparse.Namespace) -> int:
    from conddiffusion_uad.training import recipe as recipes
    from conddiffusion_uad.training.drift import drift_bundle
    from conddiffusion_uad.training.environment import TrainingEnvironment
    from conddiffusion_uad.training.lesions import train_lesions
    from conddiffusion_uad.training.progress import ConsoleLog
    from conddiffusion_uad.training.severity import severity_bundle
    from conddiffusion_uad.training.training_run import calibrate_bundle, fit_bundle, pretrain_encoder

    beside = arguments.data if arguments.data.is_dir() else arguments.data.parent
    environment = TrainingEnvironment(
        arguments.data,
        arguments.cache or beside / ".cache",
        arguments.device,
        force=arguments.force,
        skip_bad=arguments.skip_bad,
    )
    if arguments.step in ("calibrate", "drift"):
        environment = replace(environment, precision=arguments.precision)
    log = ConsoleLog("")
    if arguments.step == "calibrate":
        calibrate_bundle(arguments.bundle, environment, log, gate_only=arguments.gate_only)
    elif arguments.step == "drift":
        drift_bundle(arguments.bundle, arguments.contrast, arguments.output, environment, log)
    elif arguments.step == "severity":
        severity_bundle(arguments.bundle, arguments.output, environment, log, arguments.labels, arguments.contrast)
    else:
        environment = replace(environment, checkpoint_seconds=arguments.checkpoint_seconds)
        board = arguments.tensorboard if int(os.environ.get("RANK", "0")) == 0 else None  # of torchrun's processes
        recipe = recipes.load(arguments.recipe, arguments.set)
        if arguments.step == "lesions":
            log = ConsoleLog("Learning", board)
            train_lesions(recipe, arguments.labels, arguments.output, environment, log)
        elif arguments.step == "pretrain":
            pretrain_encoder(recipe, arguments.output, environment, ConsoleLog("Pre-training", board))
        else:
            log = ConsoleLog("Fitting", board)
            start = (arguments.encoder, arguments.start, arguments.lesions)
            fit_bundle(recipe, arguments.output, environment, log, *start)
    return EXIT_DONE
