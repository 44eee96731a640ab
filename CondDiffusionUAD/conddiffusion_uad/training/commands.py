"""The subcommands ``train pretrain``, ``train fit`` and ``train calibrate``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

PRETRAIN = "let the encoder learn what healthy brains look like, by guessing masked patches"
FIT = "fit a model to healthy scans"
CALIBRATE = "measure the residuals of healthy scans the model has not seen"
RESUMES = "resumes where it was stopped"


def add_arguments(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommands of ``train``."""
    pretrain, fit = (
        subparsers.add_parser(name, help=text, description=f"{text.capitalize()}; {RESUMES}.")
        for name, text in (("pretrain", PRETRAIN), ("fit", FIT))
    )
    for parser in (pretrain, fit):
        parser.add_argument("--recipe", default="starter", help="name of a shipped recipe or path of a TOML file")
    pretrain.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="the .safetensors file to make, or a folder for it"
    )
    fit.add_argument("--output", type=Path, required=True, metavar="DIR", help="the bundle to make")
    fit.add_argument(
        "--encoder", type=Path, metavar="FILE", help="weights from `train pretrain` to start from (default: none)"
    )
    calibrate = subparsers.add_parser("calibrate", help=CALIBRATE, description=f"{CALIBRATE.capitalize()}.")
    calibrate.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that `train fit` made")
    for parser in (pretrain, fit, calibrate):
        parser.add_argument(
            "--data", type=Path, required=True, metavar="DIR", help="folder that the recipe's sources are in"
        )
        parser.add_argument(
            "--cache", type=Path, metavar="DIR", help="where prepared scans are kept (default: DATA/.cache)"
        )
        parser.add_argument("--device", default="auto", help="auto, cuda[:N], mps or cpu")


def run(arguments: argparse.Namespace) -> None:
    """Carry out a subcommand of ``train``. Raises Failure."""
    from .training_run import calibrate_bundle, fit_bundle, pretrain_encoder

    data, cache, device = arguments.data, arguments.cache or arguments.data / ".cache", arguments.device
    if arguments.step == "pretrain":
        pretrain_encoder(arguments.recipe, data, arguments.output, cache, device, _log)
    elif arguments.step == "fit":
        fit_bundle(arguments.recipe, data, arguments.output, cache, device, _log, arguments.encoder)
    else:
        calibrate_bundle(arguments.bundle, data, cache, device, _log)


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
