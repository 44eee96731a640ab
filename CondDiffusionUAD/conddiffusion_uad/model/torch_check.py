"""Is PyTorch there and whole? Asked before anything else imports it, so that the answer is one clear sentence."""

from __future__ import annotations

from types import ModuleType

from conddiffusion_uad.protocol.failures import DeviceFailure

# How Linux and Windows say that a library does not fit into the memory.
_NO_MEMORY = ("failed to map segment", "annot allocate memory", "paging file is too small")


def require_torch() -> ModuleType:
    """PyTorch, imported.

    Raises:
        DeviceFailure: "torch_missing", "out_of_memory", or "torch_broken" when it is there but cannot be loaded (an
            interrupted installation, a build for another system, a missing system library).
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name == "torch":
            hint = "Install PyTorch, then try again."
            raise DeviceFailure("torch_missing", "PyTorch is not installed.", hint) from error
        raise _broken(error) from error
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        raise _broken(error) from error
    # What an interrupted removal or installation leaves imports as an empty namespace.
    if not hasattr(torch, "__version__"):
        raise _broken(ImportError("it is only partly installed"))
    return torch


def _broken(error: Exception) -> DeviceFailure:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if any(words in str(error) for words in _NO_MEMORY) and "not permitted" not in str(error):
        return DeviceFailure(
            "out_of_memory", "The memory does not suffice to load PyTorch.", "Close other programs, then try again."
        )
    return DeviceFailure(
        "torch_broken",
        f"PyTorch is installed but cannot be loaded ({lines[0][:160]}).",
        "Remove PyTorch, install it again, then try again.",
    )
