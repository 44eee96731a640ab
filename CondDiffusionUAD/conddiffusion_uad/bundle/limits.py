"""What the files of a bundle may ask for: no more than any network of this kind has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook

from conddiffusion_uad.model.noise import OCTAVES, PERSISTENCE, WAVELENGTH
from conddiffusion_uad.protocol.job import is_number

MOST_ENTRIES, MOST = 16, 2048  # in the configuration of a network; the published one has 4 and 512
MOST_OCTAVES = 10


@contextmanager
def no_larger_than(weights: Path) -> Iterator[None]:
    """Meanwhile, raise ValueError as soon as a network that is being made has more weights than a file can hold."""
    room = weights.stat().st_size  # a weight takes two bytes and more

    def count(module: torch.nn.Module, name: str, weight: torch.nn.Parameter | None) -> None:
        nonlocal room
        room -= 0 if weight is None else weight.numel()
        if room < 0:
            raise ValueError("its network is larger than its weights")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def require_moderate(values: Any) -> None:
    """Raise ValueError when a configuration asks for more than any network of this kind has."""
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, (list, tuple)):
        if len(values) > MOST_ENTRIES:
            raise ValueError(f"a list of {len(values)} entries")
        for value in values:
            require_moderate(value)
    elif isinstance(values, (int, float)) and not 0 <= values <= MOST:
        raise ValueError(f"{values} in its configuration")


def require_noise(values: Mapping[str, Any]) -> None:
    """Raise ValueError unless the noise can be made: its finest octave has waves of one pixel at least."""
    octaves, wavelength = values.get("octaves", OCTAVES), values.get("wavelength", WAVELENGTH)
    possible = isinstance(octaves, int) and is_number(octaves, 1, MOST_OCTAVES)
    possible = possible and is_number(wavelength, 2 ** (octaves - 1), MOST)
    if not possible or not is_number(values.get("persistence", PERSISTENCE), 0, 1):
        raise ValueError("its noise is impossible")


def require_finite(weights: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError when there is NaN or infinity among the weights, for then nothing would be found anywhere."""
    for name, values in weights.items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise ValueError(f"its weights {name} are not numbers")
