"""The subcommand ``evaluate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from conddiffusion_uad.protocol.failures import EXIT_DONE
from conddiffusion_uad.protocol.job import CONTRASTS, PRECISIONS, USUAL_BUNDLE, USUAL_FLAGGED

HELP = "measure how well a model finds lesions, with plain baselines beside it"
DESCRIPTION = (
    "Run a bundle on labeled and healthy scans, with plain baselines beside it, and write results.csv, summary.json "
    "and report.html. It goes on where it was stopped."
)
PROTOCOLS = ("native", "paper")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; sets `command`, a function that takes the parsed arguments."""
    parser.set_defaults(command=_evaluate)
    add = parser.add_argument
    add("datasets", nargs="+", metavar="DATASET", help="folder or datalist (.json, .csv); LAYOUT:PATH names its layout")
    add("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    add(
        "--bundle",
        action="append",
        metavar="NAME|PATH",
        help=f"model bundle (default: {USUAL_BUNDLE}); --protocol paper takes several, one for each fold",
    )
    add("--protocol", choices=PROTOCOLS, default=PROTOCOLS[0], help="whose rules (default: %(default)s)")
    add("--contrast", action="append", choices=CONTRASTS, help="only scans of this contrast; may be repeated")
    add("--most", type=int, metavar="N", help="patients, or slices, of each data set (default: all)")
    add("--baselines", metavar="all|none|NAME,...", help="what to compare with (default: all; with changed scans, one)")
    add("--maps", type=Path, metavar="DIR", help="judge these maps of other software in place of the bundle's")
    add("--maps-threshold", type=float, metavar="VALUE", help="from which on such a map flags (default: its top 1 %%)")
    flagged = f"see detect (default: what detect does; baselines {USUAL_FLAGGED})"
    add("--healthy-flagged", type=float, metavar="FRACTION", help=flagged)
    add("--min-volume-ml", type=float, default=0.05, metavar="ML", help="see detect (default: %(default)s)")
    add("--skull", choices=("auto", "on", "off"), default="auto", help="whether skulls are to be stripped")
    add("--device", default="auto", metavar="auto|cuda[:N]|mps|cpu", help="what computes")
    add("--precision", default="auto", metavar="|".join(PRECISIONS), help="number format of the network")
    add("--jobs", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="of the noise, 0 or more (default: %(default)s)")
    add("--robustness", action="store_true", help="also scans with simulated faults: how the figures change")
    add("--severities", metavar="N,...", help="of these faults, from 1 to 5 (default: all)")
    add("--dose-response", action="store_true", help="also healthy scans with synthetic lesions: which are found")
    add(
        "--adversarial",
        action="store_true",
        help="also the unseen changes that move residuals most, beside random ones",
    )
    add("--trained-on", type=Path, metavar="DIR", help="the bundle's training data, to find them among the scans")
    add("--allow-trained", action="store_true", help="also judge scans that the bundle was trained on")
    add("--skip-bad", action="store_true", help="go on without files that cannot be used, instead of listing them")
    add("--force", action="store_true", help="replace an earlier evaluation in the output folder")


def _evaluate(arguments: argparse.Namespace) -> int:
    from conddiffusion_uad.evaluation import run  # takes seconds

    run.run(arguments)
    return EXIT_DONE
