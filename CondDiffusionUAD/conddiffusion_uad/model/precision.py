"""In which number format a network computes."""

from __future__ import annotations

import torch

from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.protocol.job import PRECISIONS

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_NATIVE_BF16 = ("avx512_bf16", "amx_bf16")  # instructions that multiply bfloat16; others only convert it, slowly
_FIRST_CARD_WITH_BF16 = (8, 0)  # compute capability


def choose(name: str, device: torch.device) -> torch.dtype:
    """The number format of that name; "auto" takes bfloat16 where the processor multiplies it, else float32.

    It depends on nothing but the processor, so that one computer always gives one result.

    Args:
        name: "auto", "fp32" or "bf16".
        device: That computes.

    Raises:
        BadInput: ``bad_option`` for another name.
    """
    if name not in PRECISIONS:
        raise BadInput("bad_option", f"--precision cannot be {name!r}.", f"Accepted: {', '.join(PRECISIONS)}.")
    if name == "auto":
        name = "bf16" if multiplies_bf16(device) else "fp32"
    return DTYPES[name]


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a processor has instructions for products of bfloat16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _FIRST_CARD_WITH_BF16
    tell = getattr(torch.cpu, "get_capabilities", None)  # not in all versions of torch
    if device.type != "cpu" or tell is None or not torch.backends.mkldnn.is_available():
        return False
    capabilities = tell()
    return any(capabilities.get(name, False) for name in _NATIVE_BF16)


def name_of(dtype: torch.dtype) -> str:
    """ "fp32" or "bf16"."""
    return next(name for name, known in DTYPES.items() if known == dtype)
