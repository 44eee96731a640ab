"""Which processor computes."""

from __future__ import annotations

import torch

from conddiffusion_uad.protocol.failures import BadInput, DeviceFailure
from conddiffusion_uad.protocol.job import DEVICE


def choose(name: str = "auto") -> torch.device:
    """The device of that name; "auto" takes a CUDA card if there is one, else the CPU.

    Apple's "mps" is used only when it is asked for.

    Args:
        name: "auto", "cpu", "mps", "cuda" or "cuda:N".

    Raises:
        BadInput: ``bad_option`` for another name.
        DeviceFailure: ``no_such_device``; there is never a silent fallback.
    """
    if not DEVICE.fullmatch(name):
        raise BadInput("bad_option", f"--device cannot be {name!r}.", "Accepted: auto, cpu, mps, cuda, cuda:N.")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            there = f"{count} CUDA device(s)" if count else "no CUDA device"
            raise DeviceFailure(
                "no_such_device", f"{name} is not available: this computer has {there}.", "Use --device auto or cpu."
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceFailure("no_such_device", "mps is not available on this computer.", "Use --device auto or cpu.")
    return device
