"""What a bundle takes off its maps where healthy brains are often marked, and the bundle without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.method.anomaly_map import AnomalyMap


def has_prior(part: AnomalyMap) -> bool:
    """Whether a map takes something off where healthy brains are often marked."""
    return bool(getattr(part, "location_prior", ""))


def without_prior(bundle: Bundle, contrast: str) -> Bundle:
    """The bundle with nothing taken off the maps of a contrast; itself if nothing was."""
    maps = bundle.method.anomaly_map
    part: Any = maps.get(contrast)
    if part is None or not has_prior(part):
        return bundle
    plain = {**maps, contrast: replace(part, location_prior="")}
    config = replace(bundle.config, method=replace(bundle.method, anomaly_map=plain))
    return replace(bundle, config=config, as_calibrated=False)
