"""The recipes of related systems, made so small that they train in a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lesion_drawers import TINY_LESIONS

from conddiffusion_uad.training import recipe as recipes

TINY = {
    "grid": {
        "size": [24, 24, 24],
        "spacing": [8.0, 8.0, 8.0],
        "origin": [-92.0, -78.0, -90.0],
        "direction": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    },
    "denoiser": {"base": 8, "multipliers": [1, 2], "blocks": 1, "head_channels": 8, "groups": 4},
    "source": [{"kind": "scans", "files": "t1/*.nii.gz", "contrast": "T1", "weight": 1.0, "held_out": 3}],
    "validation": {"every": 0},
}
SMALLER = {"size": 12, "stride": 12, "side": 4, "draws": 3, "steps": 20, "cells": 4, "smallest": 2, "rank": 2}
"""What parts say in pixels or passes, for slices of 24 x 24; used where a part has such a field."""


def smaller(part: Any, keys: Callable[[str], bool] = lambda key: True) -> Any:
    """A part of a recipe for tiny slices."""
    if not isinstance(part, dict):
        return part
    return {key: SMALLER[key] if key in SMALLER and keys(key) else smaller(value, keys) for key, value in part.items()}


def tiny(name: str) -> dict[str, Any]:
    """The recipe of a system with another grid, a tiny network, and hardly anything to learn."""
    values = recipes.tomllib.loads(recipes.load(name).text)
    for key in ("restore", "noise", "adapt"):
        if key in values:
            values[key] = smaller(values[key])
    if isinstance(values["noise"], dict) and values["noise"]["kind"] == "simplex":
        values["noise"] |= {"octaves": 3, "wavelength": 16.0}
    if isinstance(values["condition"], dict) and "block_inplanes" in values["condition"]:
        values["condition"] |= {"features": 8, "block_inplanes": [8, 8, 16, 16]}
    if values["condition"] != "none":
        graded = [{**part, "features": 8} for part in values.get("measures", ()) if part["kind"] == "severity"]
        values["measures"] = ["disagreement", "latent_dissimilarity", *graded]
    map_of_t1 = values["anomaly_map"]["T1"]
    if map_of_t1["kind"] == "residual":
        map_of_t1 |= {"sign": "absolute", "tissue": "any"}  # the ball is bright
    values["anomaly_map"] = {"T1": map_of_t1}
    fit = values["fit"]
    fit |= {"samples": 16, "batch": 8, "warm_up": 0, "precision": "fp32", "objective": smaller(fit["objective"])}
    sources = TINY["source"]
    if name == "vat":  # which wants to tell sources apart
        parts = (("t1/0[0-3]*.nii.gz", 1), ("t1/0[4-8]*.nii.gz", 2))
        sources = [{**sources[0], "files": files, "held_out": held_out} for files, held_out in parts]
    if "lesions" in values:
        values["lesions"] |= TINY_LESIONS
    grid = TINY["grid"]
    if (
        values["condition"] != "none" and values["condition"].get("norm") == "instance"
    ):  # more than one pixel at the end
        grid = {**grid, "size": [48, 48, 24], "spacing": [4.0, 4.0, 8.0]}
    return {**values, **TINY, "grid": grid, "fit": fit, "source": sources}
