"""The subcommand `benchmark`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from types import ModuleType
from typing import TYPE_CHECKING, Any

from conddiffusion_uad.app.console import show
from conddiffusion_uad.protocol.events import encode
from conddiffusion_uad.protocol.failures import EXIT_DONE, BadInput
from conddiffusion_uad.protocol.job import PRECISIONS, DetectionJob

if TYPE_CHECKING:
    import torch

HELP = "measure how fast this computer is"
DESCRIPTION = (
    "Measure the network's speed beside that of this computer's convolutions, and the stages of a whole detection; or, "
    "with --training, steps of a training."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; sets `command`, a function that takes the parsed arguments."""
    parser.set_defaults(command=_benchmark)
    add = parser.add_argument
    add("--bundle", action="append", metavar="NAME|PATH", help="measure this one; may be repeated (default: all)")
    add("--no-paper", dest="paper", action="store_false", help="leave out the network of the published size")
    add("--no-stages", dest="stages", action="store_false", help="leave out the whole detection")
    add("--scan", metavar="INPUT", help="of the whole detection (default: the sample scan)")
    add("--contrast", default="auto", metavar="auto|T1|T2|FLAIR", help="of that scan")
    add("--device", default="auto", metavar="auto|cuda[:N]|mps|cpu", help="what computes")
    add("--precision", default="auto", metavar="|".join(PRECISIONS), help="of the whole detection")
    add("--slices", type=int, default=8, metavar="N", help="at once (default: %(default)s)")
    add("--rounds", type=int, default=5, metavar="N", help="runs of each measurement (default: %(default)s)")
    add("--training", action="store_true", help="measure training steps, on synthetic data, and nothing else")
    add("--json", action="store_true", help="as one JSON object")


def _benchmark(arguments: argparse.Namespace) -> int:
    from conddiffusion_uad.model.torch_check import require_torch

    if min(arguments.slices, arguments.rounds) < 1:
        raise BadInput("bad_option", "--slices and --rounds cannot be less than 1.", "Accepted: 1, 2, 3, ...")
    require_torch()
    from conddiffusion_uad.evaluation.benchmark import tables

    found = _measured(arguments)
    show(encode({"event": "benchmark", **found}) if arguments.json else tables.text(found))
    return EXIT_DONE


def _measured(arguments: argparse.Namespace) -> dict[str, Any]:
    from conddiffusion_uad.bundle import bundle
    from conddiffusion_uad.evaluation.benchmark.tables import machine
    from conddiffusion_uad.model.device import choose

    device, names = choose(arguments.device), arguments.bundle or bundle.available()
    if arguments.training:
        from conddiffusion_uad.evaluation.benchmark import training

        return {"machine": machine(), "device": str(device), "trainings": _speeds(training, arguments, device, names)}
    # The detection first, so that its first run is a cold one and the peak memory its own.
    stages = [_stages(arguments, name) for name in names] if arguments.stages else []
    from conddiffusion_uad.evaluation.benchmark import network

    networks = _speeds(network, arguments, device, names)
    return {"machine": machine(), "device": str(device), "networks": networks, "stages": stages}


def _speeds(
    measured: ModuleType, arguments: argparse.Namespace, device: torch.device, names: list[str]
) -> list[dict[str, Any]]:
    """Of the published size and of each bundle, as the module `network` or `training` measures them."""
    size = {"slices": arguments.slices, "rounds": arguments.rounds}
    speeds = measured.measure_paper(device, **size) if arguments.paper else []
    for name in names:
        speeds += measured.measure_bundle(name, device, **size)
    return [speed.to_json() for speed in speeds]


def _stages(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    from conddiffusion_uad.evaluation.benchmark import stages

    job = DetectionJob(
        inputs=(arguments.scan or stages.sample_scan(),),
        output="-",
        bundle=name,
        contrast=arguments.contrast,
        device=arguments.device,
        precision=arguments.precision,
    )
    return asdict(stages.measure(job, arguments.rounds))
