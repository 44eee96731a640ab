"""Loading what a detection takes before it is asked for, and giving it back when others need the memory."""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module
from typing import Any

from conddiffusion_uad.app import computer
from conddiffusion_uad.app.detection_job import Models
from conddiffusion_uad.protocol.events import Event
from conddiffusion_uad.protocol.failures import BadInput, shown
from conddiffusion_uad.protocol.job import USUAL_BUNDLE

LEAST_AVAILABLE_MB, LEAST_SHARE = 1000.0, 0.05
"""Memory of the computer that others may still get, MB and as a share of all, below which this process steps back."""

# What a detection imports when it gets there.
_LIBRARIES = ("detection.pipeline", "detection.report", "detection.overview", "app.resource_estimate")


def wanted(order: dict[str, Any]) -> tuple[str, str]:
    """Bundle and device that an order names, the usual ones where it names none. Raises BadInput."""
    bundle, device = order.pop("bundle", USUAL_BUNDLE), order.pop("device", "auto")
    if not isinstance(bundle, str) or not isinstance(device, str) or order:
        raise BadInput("bad_line", f"This cannot be prepared: {shown(order or bundle)}.", "Accepted: bundle, device.")
    return bundle, device


def prepare(models: Models, bundle: str, device: str) -> Event:
    """Load the libraries, the weights of a bundle and those that find the brain; nothing where memory is scarce.

    Args:
        bundle: Name or folder of a bundle; empty for none.

    Returns:
        The event "ready": the memory that this process holds in MB, None where the system does not tell it; PyTorch's
        version and the devices as the subcommand `devices` lists them, when they were loaded.

    Raises:
        Failure: PyTorch is missing or broken, or there is no such bundle or device.
    """
    if memory_is_wanted():
        return {"event": "ready", "memory_mb": computer.own_memory_mb()}
    from conddiffusion_uad.app.commands.devices import find
    from conddiffusion_uad.model.device import choose
    from conddiffusion_uad.model.torch_check import require_torch

    torch = require_torch()
    for library in _LIBRARIES:
        import_module(f"conddiffusion_uad.{library}")
    from conddiffusion_uad.preprocessing import skull

    if bundle:
        models.get(bundle, device)
    skull.load(choose(device))
    devices = [asdict(found) for found in find()]
    memory = computer.own_memory_mb()
    return {"event": "ready", "memory_mb": memory, "torch": str(torch.__version__), "devices": devices}


def memory_is_wanted() -> bool:
    """Whether so little of the computer's memory is left that a process without a job should not keep any."""
    memory = computer.memory()
    return memory is not None and memory.available < max(LEAST_AVAILABLE_MB, LEAST_SHARE * memory.total)
