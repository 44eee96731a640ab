"""The subcommand `devices`: what this computer can compute with."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from typing import Any

from conddiffusion_uad.app.console import show
from conddiffusion_uad.model.torch_check import require_torch
from conddiffusion_uad.protocol.events import encode
from conddiffusion_uad.protocol.failures import EXIT_DONE


@dataclass(frozen=True)
class Device:
    """One processor.

    Attributes:
        name: As `--device` takes it.
        label: For people.
        memory_gb: Memory of a graphics card in GB; None for a processor that shares the computer's.
        supported: Whether the installed PyTorch has code for it.
    """

    name: str
    label: str
    memory_gb: float | None
    supported: bool


HELP = "list what can compute"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; sets `command`, a function that takes the parsed arguments."""
    parser.set_defaults(command=_devices)
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def find() -> list[Device]:
    """The devices, best first; the CPU is always the last. Raises DeviceFailure when PyTorch is missing or broken."""
    torch = require_torch()
    found = []
    if torch.cuda.is_available():
        found = [_card(torch, index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU", None, True))
    return [*found, Device("cpu", "CPU", None, True)]


def _card(torch: Any, index: int) -> Device:
    properties = torch.cuda.get_device_properties(index)
    return Device(
        f"cuda:{index}",
        properties.name,
        round(properties.total_memory / 1e9, 1),
        _has_code_for(torch.cuda.get_arch_list(), properties.major, properties.minor),
    )


def _has_code_for(architectures: list[str], major: int, minor: int) -> bool:
    """Whether a build runs on a card: its code is of the same generation and not newer, or portable (PTX) and older."""
    for architecture in architectures:
        kind, _, digits = architecture.partition("_")
        digits = digits.rstrip("af")
        if digits.isdigit():
            generation, step = divmod(int(digits), 10)
            same = generation == major and step <= minor
            if same or (kind == "compute" and (generation, step) <= (major, minor)):
                return True
    return not architectures


def _devices(arguments: argparse.Namespace) -> int:
    devices = find()
    if arguments.json:
        version = str(sys.modules["torch"].__version__)
        show(encode({"event": "devices", "torch": version, "devices": [asdict(device) for device in devices]}))
        return EXIT_DONE
    for device in devices:
        memory = "" if device.memory_gb is None else f", {device.memory_gb:g} GB"
        unknown = "" if device.supported else " (not known to the installed PyTorch)"
        show(f"{device.name:8} {device.label}{memory}{unknown}")
    return EXIT_DONE
