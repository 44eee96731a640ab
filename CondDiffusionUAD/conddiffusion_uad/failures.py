"""Every exception as a failure that can be told to the user."""

from __future__ import annotations

import sys
import traceback
from contextlib import suppress

from conddiffusion_uad.protocol import Cancelled, DeviceFailure, Failure

# How torch's allocators and ITK say that memory is short: as a RuntimeError.
_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "failed to allocate memory",
    "alloc_failed",
    "bad_alloc",
)
_TOO_NEW_A_CARD = "no kernel image is available"


def explain(error: BaseException) -> Failure:
    """The failure to tell: the error itself when it is one, else what it means to the user.

    The traceback of an unforeseen error goes to stderr, and nowhere else.
    """
    if isinstance(error, Failure):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Cancelled()
    if _is_out_of_memory(error):
        return DeviceFailure(
            "out_of_memory",
            "The memory does not suffice for this scan and this model.",
            "Close other programs, or use --device cpu.",
        )
    if _TOO_NEW_A_CARD in str(error):
        return DeviceFailure(
            "device_unsupported",
            "The installed PyTorch does not know this graphics card.",
            "Install a PyTorch build for it, or use --device cpu.",
        )
    if isinstance(error, ModuleNotFoundError):
        return Failure(
            "package_missing",
            f"The Python package {error.name} is not installed.",
            "Install what Resources/requirements.txt names, then try again.",
        )
    with suppress(OSError):  # nobody may be reading stderr any more
        traceback.print_exception(error, file=sys.stderr)
    return Failure(
        "unforeseen",
        f"Something unforeseen went wrong ({type(error).__name__}: {_first_line(error)}).",
        "The log (stderr) says where; please report it.",
    )


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else "no message"
