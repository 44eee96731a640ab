"""Configurations of the first format, in which there was only one method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conddiffusion_uad.method.parts import require_known

KEYS = ("format", "grid", "model", "levels", "residual")
MODEL = ("condition", "encoder", "denoiser", "noise")
SIGNS = {"positive": "hyperintense", "negative": "hypointense"}


def is_old(values: Mapping[str, Any]) -> bool:
    """Whether a configuration, or a recipe, is written in this format."""
    return values.get("format", 1 if "model" in values else None) == 1


def converted(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same configuration in the second format.

    Raises:
        KeyError, TypeError or ValueError: Something is missing or unknown.
    """
    require_known(values, list(KEYS), "the configuration")
    model = values["model"]
    require_known(model, list(MODEL), "model")
    features = model["condition"]
    encoder = {"kind": "encoder", "features": features, **model["encoder"]}
    return {
        "format": 2,
        "grid": values["grid"],
        "denoiser": model["denoiser"],
        "context": [],
        "condition": encoder if features else {"kind": "none"},
        "noise": {"kind": "simplex", **model["noise"]},
        "restore": {"kind": "one_step", "timesteps": values["levels"]},
        "anomaly_map": {contrast: _residual(rule) for contrast, rule in values["residual"].items()},
    }


def _residual(rule: Mapping[str, Any]) -> dict[str, Any]:
    sign = {"sign": SIGNS.get(rule["sign"], rule["sign"])} if "sign" in rule else {}
    return {"kind": "residual", **rule, **sign}
