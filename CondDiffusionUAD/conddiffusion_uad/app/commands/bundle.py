"""The subcommands `bundle list`, `bundle show`, `bundle verify` and `bundle import`."""

from __future__ import annotations

import argparse
from pathlib import Path

from conddiffusion_uad.app.console import show
from conddiffusion_uad.protocol.expected_findings import USUAL, ExpectedFindings
from conddiffusion_uad.protocol.failures import EXIT_DONE, BundleFailure

_SHOWN = (0.1, 0.3, USUAL, 1.0, 3.0)  # findings of a healthy scan
HELP = "list, show, verify or import model bundles"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands; each sets `command`, a function that takes the parsed arguments."""
    commands = parser.add_subparsers(required=True, metavar="ACTION")
    commands.add_parser("list", help="name the installed bundles").set_defaults(command=_list)
    for name, command, text in (
        ("show", _show, "print what a bundle is, with its model card"),
        ("verify", _verify, "check that a bundle is whole and unaltered"),
    ):
        action = commands.add_parser(name, help=text)
        action.add_argument("bundle", metavar="NAME|PATH")
        action.set_defaults(command=command)
    action = commands.add_parser("import", help="install a bundle from a folder or a ZIP archive")
    action.add_argument("source", metavar="FOLDER|ZIP")
    action.add_argument("--name", help="what it shall be called (default: as the folder or the archive)")
    action.add_argument("--force", action="store_true", help="replace an imported bundle of that name")
    action.set_defaults(command=_import)


def _list(arguments: argparse.Namespace) -> int:
    from conddiffusion_uad.bundle import bundle

    show("\n".join(bundle.available()) or "No bundle is installed.")
    return EXIT_DONE


def _show(arguments: argparse.Namespace) -> int:
    from conddiffusion_uad.bundle import bundle

    loaded = bundle.load(arguments.bundle)
    card = loaded.path / bundle.CARD
    lines = [
        f"name       {loaded.name}",
        f"folder     {loaded.path}",
        f"sha256     {loaded.sha256}",
        f"contrasts  {', '.join(loaded.config.contrasts)}",
        f"calibrated {', '.join(loaded.calibration) or 'no'}",
        *(_promise(*item) for item in loaded.expected.items()),
        f"method     {', '.join(loaded.method.kinds)}",
        f"timesteps  {', '.join(map(str, loaded.config.timesteps))}",
        f"parameters {sum(weights.numel() for weights in loaded.model.parameters()):,}",
    ]
    show("\n".join([*lines, *(["", card.read_text(encoding="utf-8").rstrip()] if card.is_file() else [])]))
    return EXIT_DONE


def _promise(contrast: str, known: ExpectedFindings) -> str:
    """Findings of a healthy scan, each with the score that leads to so many."""
    told = ", ".join(f"{count:g} at {known.threshold(count):.2f}" for count in _SHOWN if count >= known.counts[-1])
    of = f" of {known.brains} brains" if known.brains is not None else ""
    return f"findings   {contrast}: {told} ({known.scans} healthy scans{of}, from {known.smallest_ml:g} ml)"


def _verify(arguments: argparse.Namespace) -> int:
    from conddiffusion_uad.bundle import bundle

    loaded = bundle.load(arguments.bundle)
    missing = [contrast for contrast in loaded.config.contrasts if contrast not in loaded.calibration]
    if missing:
        raise BundleFailure(
            "bundle_not_calibrated",
            f"The bundle {loaded.name} is not calibrated for {', '.join(missing)}.",
            "Calibrate it on healthy scans with: conddiffusion-uad train calibrate.",
        )
    show(f"{loaded.name} is whole: {loaded.sha256}")
    return EXIT_DONE


def _import(arguments: argparse.Namespace) -> int:
    from conddiffusion_uad.bundle.importing import import_bundle

    imported = import_bundle(Path(arguments.source), name=arguments.name, force=arguments.force)
    show(f"{imported.name} is installed in {imported.path}: {imported.sha256}")
    return EXIT_DONE
