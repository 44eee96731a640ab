"""The subcommands ``train fit`` and ``train calibrate``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

FIT = "fit a model to healthy scans"
CALIBRATE = "measure the residuals of healthy scans the model has not seen"


def add_arguments(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommands of ``train``."""
    fit = subparsers.add_parser("fit", help=FIT, description=f"{FIT.capitalize()}; resumes where it was stopped.")
    fit.add_argument("--recipe", default="starter", help="name of a shipped recipe or path of a TOML file")
    fit.add_argument("--output", type=Path, required=True, metavar="DIR", help="the bundle to make")
    calibrate = subparsers.add_parser("calibrate", help=CALIBRATE, description=f"{CALIBRATE.capitalize()}.")
    calibrate.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that `train fit` made")
    for parser in (fit, calibrate):
        parser.add_argument(
            "--data", type=Path, required=True, metavar="DIR", help="folder that the recipe's sources are in"
        )
        parser.add_argument(
            "--cache", type=Path, metavar="DIR", help="where prepared scans are kept (default: DATA/.cache)"
        )
        parser.add_argument("--device", default="auto", help="auto, cuda[:N], mps or cpu")


def run(arguments: argparse.Namespace) -> None:
    """Carry out ``train fit`` or ``train calibrate``. Raises Failure."""
    from .training_run import calibrate_bundle, fit_bundle

    cache = arguments.cache or arguments.data / ".cache"
    if arguments.step == "fit":
        fit_bundle(arguments.recipe, arguments.data, arguments.output, cache, arguments.device, _log)
    else:
        calibrate_bundle(arguments.bundle, arguments.data, cache, arguments.device, _log)


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
