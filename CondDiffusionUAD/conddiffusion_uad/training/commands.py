"""The subcommands of ``train``: ``lesions``, ``pretrain``, ``fit``, ``calibrate``, ``drift`` and ``severity``."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

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
    subparsers = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    lesions, pretrain, fit = (
        subparsers.add_parser(name, help=text, description=f"{text.capitalize()}; {RESUMES}.")
        for name, text in (("lesions", LESIONS), ("pretrain", PRETRAIN), ("fit", FIT))
    )
    for parser, recipe in ((lesions, "lesion-simulator"), (pretrain, "residual"), (fit, "residual")):
        parser.add_argument(
            "--recipe", default=recipe, help="name of a shipped recipe or path of a TOML file (default: %(default)s)"
        )
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="change a value of the recipe, such as fit.batch=8 or source.0.weight=0.5; may be repeated",
        )
    lesions.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="FILE",
        help="CSV table with the columns scan and lesions (paths below --data), and contrast if names do not tell it",
    )
    for parser in (lesions, pretrain):
        parser.add_argument(
            "--output",
            type=Path,
            required=True,
            metavar="FILE",
            help="the .safetensors file to make, or a folder for it",
        )
    fit.add_argument("--output", type=Path, required=True, metavar="DIR", help="the bundle to make")
    fit.add_argument(
        "--encoder", type=Path, metavar="FILE", help="weights from `train pretrain` to start from (default: none)"
    )
    fit.add_argument(
        "--from", dest="start", metavar="NAME|PATH", help="bundle with the same network to go on from (default: none)"
    )
    fit.add_argument(
        "--lesions", type=Path, metavar="FILE", help="what `train lesions` made, to draw anomalies by (default: none)"
    )
    calibrate = subparsers.add_parser("calibrate", help=CALIBRATE, description=f"{CALIBRATE.capitalize()}.")
    calibrate.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that `train fit` made")
    calibrate.add_argument(
        "--gate-only", action="store_true", help="measure only what the input gate compares scans with"
    )
    drift = subparsers.add_parser("drift", help=DRIFT, description=f"{DRIFT.capitalize()}.")
    drift.add_argument("bundle", metavar="NAME|PATH", help="bundle to fit")
    drift.add_argument("--output", type=Path, required=True, metavar="DIR", help="the copy to make")
    drift.add_argument("--contrast", default="auto", metavar="|".join(("auto", *CONTRASTS)), help="of the scans")
    severity = subparsers.add_parser("severity", help=SEVERITY, description=f"{SEVERITY.capitalize()}.")
    severity.add_argument("bundle", metavar="NAME|PATH", help="folder that `train fit` made; with --labels, any bundle")
    severity.add_argument("--output", type=Path, required=True, metavar="DIR", help="the copy to make")
    severity.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="CSV table with the columns scan (a path below --data) and sick (0 or 1) to learn from instead",
    )
    severity.add_argument("--contrast", metavar="|".join(("auto", *CONTRASTS)), help="of those scans (default: auto)")
    for parser in (calibrate, drift):
        parser.add_argument(
            "--precision", default="auto", metavar="|".join(PRECISIONS), help="number format (default: auto)"
        )
    for parser in (lesions, pretrain, fit, calibrate, drift, severity):
        parser.add_argument("--force", action="store_true", help="replace what is there already")
        parser.add_argument(
            "--data",
            type=Path,
            required=True,
            metavar="DIR|FILE",
            help="folder of the recipe's sources, or a datalist (.json, .csv); for drift and labels, of scans",
        )
        parser.add_argument(
            "--cache", type=Path, metavar="DIR", help="where prepared scans are kept (default: .cache beside the data)"
        )
        parser.add_argument("--device", default="auto", help="auto, cuda[:N], mps or cpu")
        parser.add_argument(
            "--skip-bad", action="store_true", help="go on without files that cannot be used, instead of listing them"
        )
    for parser in (lesions, pretrain, fit):
        parser.add_argument(
            "--checkpoint-seconds",
            type=float,
            default=300.0,
            metavar="S",
            help="between two checkpoints (default: %(default)g)",
        )
        parser.add_argument("--tensorboard", type=Path, metavar="DIR", help="folder for TensorBoard's log")


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
    if arguments.step == "calibrate":
        environment = replace(environment, precision=arguments.precision)
        calibrate_bundle(arguments.bundle, environment, ConsoleLog(""), gate_only=arguments.gate_only)
        return EXIT_DONE
    if arguments.step == "drift":
        environment = replace(environment, precision=arguments.precision)
        drift_bundle(arguments.bundle, arguments.contrast, arguments.output, environment, ConsoleLog(""))
        return EXIT_DONE
    if arguments.step == "severity":
        log = ConsoleLog("")
        severity_bundle(arguments.bundle, arguments.output, environment, log, arguments.labels, arguments.contrast)
        return EXIT_DONE
    environment = replace(environment, checkpoint_seconds=arguments.checkpoint_seconds)
    board = arguments.tensorboard if int(os.environ.get("RANK", "0")) == 0 else None  # of torchrun's processes
    recipe = recipes.load(arguments.recipe, arguments.set)
    if arguments.step == "lesions":
        train_lesions(recipe, arguments.labels, arguments.output, environment, ConsoleLog("Learning", board))
    elif arguments.step == "pretrain":
        pretrain_encoder(recipe, arguments.output, environment, ConsoleLog("Pre-training", board))
    else:
        log = ConsoleLog("Fitting", board)
        fit_bundle(recipe, arguments.output, environment, log, arguments.encoder, arguments.start, arguments.lesions)
    return EXIT_DONE
