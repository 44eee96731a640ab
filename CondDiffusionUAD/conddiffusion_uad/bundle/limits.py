"""What the files of a bundle may ask for: no more than any network of this kind has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

MOST_ENTRIES, MOST = 8, 2048  # resolutions and channels of a denoiser; the published one has 3 and 128
MOST_BLOCKS = 64  # of each resolution


def require_no_larger(build: Callable[[], nn.Module], weights: Path) -> None:
    """Raise ValueError when a network has more weights than a file can hold. The network takes no memory meanwhile."""
    with _WithoutWeights():
        values = sum(value.numel() for value in build().parameters())
    if 2 * values > weights.stat().st_size:  # a weight takes two bytes or more
        raise ValueError(f"its network is larger than its weights {weights.name}")


class _WithoutWeights(TorchFunctionMode):
    """Gives new parameters neither memory nor values; all else that a network is made of is computed.

    On a whole network, `torch.device("meta")` would make torch load its compiler, which takes seconds.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.empty:
            kwargs = {**kwargs, "device": "meta"}
        elif function in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return function(*args, **kwargs)


def require_moderate(denoiser: Mapping[str, Any]) -> None:
    """Raise ValueError when a denoiser shall be larger than any network of this kind is."""
    for name, value in denoiser.items():
        values = value if isinstance(value, (list, tuple)) else (value,)
        most = MOST_BLOCKS if name == "blocks" else MOST
        whole = all(isinstance(each, int) and not isinstance(each, bool) and 1 <= each <= most for each in values)
        if not whole or not 1 <= len(values) <= MOST_ENTRIES or (name == "multipliers") != (values is value):
            raise ValueError(f"denoiser: {name} cannot be {str(value)[:80]}")


def require_finite(weights: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError when there is NaN or infinity among the weights, for then nothing would be found anywhere."""
    for name, values in weights.items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise ValueError(f"its weights {name} are not numbers")
