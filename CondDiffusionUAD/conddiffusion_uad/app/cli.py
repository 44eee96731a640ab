"""The command line: `conddiffusion-uad` = `python -m conddiffusion_uad`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from types import ModuleType
from typing import Any, NoReturn

from conddiffusion_uad import __version__
from conddiffusion_uad.app import output, repetition
from conddiffusion_uad.app.commands import bundle, devices
from conddiffusion_uad.app.console import Console
from conddiffusion_uad.app.detection_job import run
from conddiffusion_uad.app.interrupts import ignore_interrupts, terminate_as_interrupt
from conddiffusion_uad.app.repetition import Repetition
from conddiffusion_uad.app.streams import EventWriter, open_standard_streams, reserved_stdout
from conddiffusion_uad.protocol.events import Emit
from conddiffusion_uad.protocol.expected_findings import USUAL
from conddiffusion_uad.protocol.explanation import explain
from conddiffusion_uad.protocol.failures import (
    EXIT_CANCELLED,
    EXIT_UNFORESEEN,
    RESEARCH_USE,
    BadInput,
    Cancelled,
    printable,
)
from conddiffusion_uad.protocol.job import CONTRASTS, PRECISIONS, USUAL_FLAGGED, DetectionJob

PROGRAM = "conddiffusion-uad"
PATIENCE_S = 1.0  # how long a cancelled run may take to end by itself
RESEARCH_COMMANDS = {
    "train": "conddiffusion_uad.training.commands",
    "methods": "conddiffusion_uad.training.methods_command",
    "evaluate": "conddiffusion_uad.evaluation.commands",
    "benchmark": "conddiffusion_uad.evaluation.benchmark.commands",
}
"""Commands of the layers above, by the names of their modules: Slicer's package has the engine without them."""

DEFAULTS = DetectionJob(inputs=("-",), output="-")


class Parser(argparse.ArgumentParser):
    """Wrong usage is a bad input like any other: one sentence, a hint, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Raise BadInput("bad_option")."""
        hint = f"{_way_on(self._given)}See {self.prog} --help."
        raise BadInput("bad_option", f"{message[:1].upper()}{message[1:]}.", hint)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse has it."""
        self._given = list(args or ())
        return super().parse_known_args(args, namespace)


def _way_on(given: Sequence[str]) -> str:
    """What to do about a name that begins with a dash and was taken for an option, if there is one."""
    for name in given:
        like_a_file = re.match(r"-[^-]", name) and "." in name and not re.fullmatch(r"-[\d.e-]+", name)
        if name.startswith("-") and (like_a_file or os.path.lexists(name)):
            return f"A name that begins with a dash is written .{os.sep}{printable(name)}. "
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    open_standard_streams()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        parsed = build_parser().parse_args(arguments)
        return parsed.command(parsed)
    except Exception as error:
        failure = explain(error)
        with _events_to("--json" in arguments, threading.Event()) as emit:
            emit(failure.event())
        return failure.exit_code
    except KeyboardInterrupt:
        return EXIT_CANCELLED


def program() -> NoReturn:
    """The program of this process: `main`, and the end of the process.

    After a detection that comes at once: taking everything apart that was imported, only to give its memory back, takes
    Python as long as some of the stages. Not so after one that was cancelled: the scan after it may just be read on a
    thread, and what that has in a temporary folder goes when Python ends.
    """
    code = main()
    if sys.argv[1:2] != ["detect"] or code == EXIT_CANCELLED:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or nobody reads it
            stream.flush()
    os._exit(code)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the namespace it makes has `command`, a function that takes it."""
    parser = Parser(
        prog=PROGRAM, allow_abbrev=False, description=f"Unsupervised anomaly detection in brain MRI. {RESEARCH_USE}."
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_detect(
        commands.add_parser("detect", allow_abbrev=False, help="find what does not look healthy in brain scans")
    )
    for name, module in _modules_of_commands().items():
        described = getattr(module, "DESCRIPTION", None)
        module.add_arguments(commands.add_parser(name, help=module.HELP, description=described))
    commands.add_parser("worker", help="run jobs given as JSON lines on stdin").set_defaults(command=_worker)
    return parser


def _modules_of_commands() -> dict[str, ModuleType]:
    """The modules of all commands that have one of their own; without those that this installation lacks."""
    modules = {"bundle": bundle, "devices": devices}
    for name, path in RESEARCH_COMMANDS.items():
        if importlib.util.find_spec(path.rpartition(".")[0]):
            modules[name] = importlib.import_module(path)
    return modules


def _add_detect(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_detect)
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="NIfTI, NRRD or MetaImage file, or a DICOM folder")
    add("--output", required=True, metavar="DIR", help="folder for the results; several inputs: DIR/<name>/")
    add("--bundle", default=DEFAULTS.bundle, metavar="NAME|PATH", help="model bundle (default: %(default)s)")
    add("--contrast", default=DEFAULTS.contrast, metavar="|".join(("auto", *CONTRASTS)), help="of the scan")
    add("--device", default=DEFAULTS.device, metavar="auto|cuda[:N]|mps|cpu", help="what computes")
    add("--levels", metavar="250,500,750", help="noise levels to average over (default: the bundle's own)")
    add(
        "--healthy-flagged",
        type=float,
        metavar="FRACTION",
        help=f"of healthy tissue that may be flagged, instead of a number of findings; such as {USUAL_FLAGGED}",
    )
    add(
        "--expected-findings",
        type=float,
        metavar="N",
        help=f"false ones that the threshold may lead to in a healthy brain "
        f"(default: {USUAL:g} or the least that the bundle promises, if it promises any)",
    )
    add("--bounded", action="store_true", help="let their bound decide, which few counted brains make larger")
    add(
        "--min-volume-ml",
        type=float,
        default=DEFAULTS.min_volume_ml,
        metavar="ML",
        help="smallest volume of a finding (default: %(default)s)",
    )
    add("--skull", default=DEFAULTS.skull, metavar="auto|on|off", help="whether the skull is to be stripped")
    add("--seed", type=int, default=DEFAULTS.seed, metavar="N", help="of the noise (default: %(default)s)")
    add("--batch", type=int, default=DEFAULTS.batch, metavar="N", help="slices computed at once (default: %(default)s)")
    add("--precision", default=DEFAULTS.precision, metavar="|".join(PRECISIONS), help="number format of the network")
    add("--uncertainty", action="store_true", help="also write how far the reconstructions leave the score open")
    add(
        "--location-prior",
        action=argparse.BooleanOptionalAction,
        default=DEFAULTS.location_prior,
        help="take something off the score where healthy brains are often marked; without, no number is promised",
    )
    add("--series", metavar="NUMBER", help="which of several DICOM series: its number, description or UID")
    add("--echo", metavar="N", help="which of several echoes, frame types or repetitions in a series, as it lists them")
    add("--repeat", metavar="REPORT", help="repeat the run of a report.json: same parameters, scan and bundle")
    add("--force", action="store_true", help="replace earlier results in the output folder")
    add("--accept-any-scan", action="store_true", help="examine also a scan that is doubtful or looks unusual")
    add("--json", action="store_true", help="events on stdout, one JSON object a line")


def _detect(arguments: argparse.Namespace) -> int:
    job, repeated = _repeated(arguments) if arguments.repeat else (_job(arguments), None)
    cancelled = threading.Event()
    with _events_to(arguments.json, cancelled) as emit:
        return _interruptible(lambda: run(job, emit, cancelled, repetition=repeated), cancelled, emit)


def _job(arguments: argparse.Namespace) -> DetectionJob:
    given = {field.name: getattr(arguments, field.name) for field in fields(DetectionJob)}
    return DetectionJob(**{**given, "inputs": tuple(arguments.inputs), "levels": _levels(arguments.levels)})


def _repeated(arguments: argparse.Namespace) -> tuple[DetectionJob, Repetition]:
    """The job that repeats a run. Raises BadInput when options contradict the report."""
    asked = _job(arguments)
    for name in DetectionJob.parameters():
        if getattr(asked, name) != getattr(DEFAULTS, name):
            option = "--" + name.replace("_", "-")
            raise BadInput("bad_option", f"{option} cannot go with --repeat: the report decides it.", "Leave it out.")
    if len(asked.inputs) > 1:
        raise BadInput("bad_option", "--repeat takes one scan, not several.", "Give the scan of the report.")
    given = arguments.bundle if arguments.bundle != DEFAULTS.bundle else None
    device = arguments.device if arguments.device != DEFAULTS.device else None
    repeated = repetition.read(arguments.repeat, given)
    return repeated.job(asked.inputs[0], asked.output, device=device, force=asked.force), repeated


def _levels(text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(int(level) for level in text.split(","))
    except ValueError:
        raise BadInput("bad_option", f"--levels cannot be {text!r}.", "Accepted: such as 250,500,750.") from None


def _worker(arguments: argparse.Namespace) -> int:
    from conddiffusion_uad.app import worker

    worker.serve()


@contextmanager
def _events_to(json: bool, cancelled: threading.Event) -> Iterator[Emit]:
    """Where events go: as JSON lines to stdout, until nobody reads them, or to a person."""
    if not json:
        yield Console()
        return
    with reserved_stdout() as stream:
        yield EventWriter(stream, gone=cancelled.set)


def _interruptible(work: Callable[[], int], cancelled: threading.Event, emit: Emit) -> int:
    """Run `work` and return its exit code; an interrupt (SIGINT, SIGTERM) cancels it.

    It runs on a second thread, because Python cannot handle a signal while its main thread is inside a long
    computation of a library. What does not end by itself within `PATIENCE_S` is ended with the process.
    """
    codes: list[int] = []
    over = threading.Event()

    def working() -> None:
        try:
            codes.append(work())
        finally:
            over.set()

    with terminate_as_interrupt():
        try:
            threading.Thread(target=working, daemon=True).start()
            while not over.wait(0.1):  # short: Windows does not interrupt a long one
                pass
        except KeyboardInterrupt:
            ignore_interrupts()
            cancelled.set()
            over.wait(PATIENCE_S)
    if not codes and not cancelled.is_set():
        return EXIT_UNFORESEEN
    if not codes:
        output.remove_all_private()
        emit(Cancelled().event())
        os._exit(EXIT_CANCELLED)
    return codes[0]
