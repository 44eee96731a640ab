"""Every exception as a failure that can be told to the user."""

from __future__ import annotations

import sys
import traceback
from contextlib import suppress

from conddiffusion_uad.protocol.failures import Cancelled, DeviceFailure, Failure, printable

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
# How torch says that a graphics card is gone, hangs or has failed; the process cannot use it any more.
_CARD_FAILED = ("cuda error", "cuda driver", "cublas_status", "cudnn_status", "no cuda gpus", "no cuda-capable")


def explain(error: BaseException) -> Failure:
    """The failure to tell: the error itself when it is one, else what it means to the user.

    The traceback of an unforeseen error goes to stderr, and nowhere else.
    """
    if isinstance(error, Failure):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Cancelled()
    if is_out_of_memory(error):
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
    if is_card_failure(error):
        return DeviceFailure(
            "device_lost",
            "The graphics card failed during the run.",
            "Use --device cpu; if it happens again, update the card's driver.",
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
        f"Something unforeseen went wrong ({type(error).__name__}: {first_line(error)}).",
        "The log (stderr) says where; please report it.",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the computer or of the graphics card does not suffice."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def is_card_failure(error: BaseException) -> bool:
    """Whether an error says that a graphics card has failed, has vanished or is not known to the installed PyTorch."""
    words = (*_CARD_FAILED, _TOO_NEW_A_CARD)
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


def first_line(error: BaseException) -> str:
    """What an error says, in one line that can be shown."""
    lines = str(error).strip().splitlines()
    return printable(lines[0][:160]) if lines else "no message"
