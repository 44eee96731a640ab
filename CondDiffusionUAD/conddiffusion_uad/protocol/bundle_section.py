"""What a bundle's metadata tells before its network is loaded. Standard library only, for Slicer to ask too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SECTION = "conddiffusion_uad"
"""Of metadata.json: how the bundle is run."""


def contrasts(section: Mapping[str, Any]) -> tuple[str, ...]:
    """The contrasts that a bundle is made for. Raises KeyError or TypeError when the section is none."""
    return tuple(map(str, section["residual" if section["format"] == 1 else "anomaly_map"]))


def kind(part: Any) -> str:
    """The kind of a part of the method; empty when there is none. Raises KeyError or TypeError when it is no part."""
    return str(part["kind"]) if part else ""


def maps(section: Mapping[str, Any]) -> dict[str, str]:
    """The kind of anomaly map of each contrast. Raises KeyError or TypeError."""
    if section["format"] == 1:
        return dict.fromkeys(contrasts(section), "residual")
    return {str(contrast): kind(part) for contrast, part in section["anomaly_map"].items()}


def location_priors(section: Mapping[str, Any]) -> tuple[str, ...]:
    """The contrasts whose map is lowered where healthy brains are often marked. Raises KeyError or TypeError."""
    parts = {} if section["format"] == 1 else section["anomaly_map"]
    return tuple(str(contrast) for contrast, part in parts.items() if part.get("location_prior"))


def timesteps(section: Mapping[str, Any]) -> tuple[int, ...]:
    """The timesteps that its reconstruction uses. Raises KeyError, TypeError or ValueError."""
    return tuple(map(int, section["levels"] if section["format"] == 1 else section["restore"]["timesteps"]))


def draws(section: Mapping[str, Any]) -> int:
    """The samples of the reconstruction at each timestep. Raises KeyError, TypeError or ValueError."""
    return 1 if section["format"] == 1 else int(section["restore"].get("draws", 1))


def samples_for_uncertainty(map_kind: str) -> int:
    """The least samples of a reconstruction that tell how sure a map of this kind is: it has to do without each."""
    return 3 if map_kind == "mahalanobis" else 2
