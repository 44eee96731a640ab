"""The subcommand ``methods``: what a method can be made of, and the papers that it comes from."""

from __future__ import annotations

import argparse
import textwrap

from conddiffusion_uad.app.console import show
from conddiffusion_uad.protocol.events import encode
from conddiffusion_uad.protocol.failures import EXIT_DONE

HELP = "list the parts and recipes that methods are made of, with their papers"
WIDTH = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; sets `command`, a function that takes the parsed arguments."""
    parser.set_defaults(command=_methods)
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def _methods(arguments: argparse.Namespace) -> int:
    from conddiffusion_uad.training import catalogue

    found = {**catalogue.parts(), "recipe": catalogue.shipped_recipes()}
    if arguments.json:
        show(encode({key: [vars(line) for line in lines] for key, lines in found.items()}))
        return EXIT_DONE
    for key, lines in found.items():
        show(f"{key}")
        for line in lines:
            text = f"{line.name:<22}{line.text}{f' [{line.paper}]' if line.paper else ''}"
            show(textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent=" " * 24))
    return EXIT_DONE
