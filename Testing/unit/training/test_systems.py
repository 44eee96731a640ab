"""Every recipe of a related system trains, calibrates and finds its way through a detection, with a tiny network."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk
import tomli_w
from thin_files import disks, write_thin

from conddiffusion_uad.app.cli import main
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.detection.pipeline import detect, prepare_now
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.preparation import Prepared
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import BadInput
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.table import Table

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


def systems() -> list[str]:
    """The recipes that are based on another one."""
    return sorted(path.stem for path in recipes.SHIPPED.glob("*.toml") if recipes.BASE in path.read_text())


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
    grid = TINY["grid"]
    if (
        values["condition"] != "none" and values["condition"].get("norm") == "instance"
    ):  # more than one pixel at the end
        grid = {**grid, "size": [48, 48, 24], "spacing": [4.0, 4.0, 8.0]}
    return {**values, **TINY, "grid": grid, "fit": fit, "source": sources}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thin volumes to learn from, prepared once for all recipes."""
    folder = tmp_path_factory.mktemp("data")
    for number, image in enumerate(disks(9)):
        write_thin(folder / "t1" / f"{number:02d}.nii.gz", image)
    return folder


@pytest.fixture(scope="module")
def prepared(scan_file: Path) -> Callable[[Grid], tuple[sitk.Image, Prepared]]:
    """A scan with a bright ball, prepared once for all bundles with the same grid."""
    scan = volumes.read(scan_file)

    @cache
    def on(grid: Grid) -> tuple[sitk.Image, Prepared]:
        options = {"grid": grid, "atlas": atlas.load(), "skull": "off", "device": "cpu"}
        return scan, prepare_now(scan, options, Quiet())

    return on


@pytest.mark.parametrize("name", systems())
def test_a_system_is_trained_calibrated_and_used(
    name: str, data: Path, prepared: Callable[[Grid], tuple[sitk.Image, Prepared]], tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(tiny(name)))
    bundle = tmp_path / name
    common = ["--data", str(data), "--device", "cpu"]
    assert main(["train", "fit", "--recipe", str(tmp_path / "recipe.toml"), "--output", str(bundle), *common]) == 0
    assert main(["train", "calibrate", str(bundle), "--precision", "fp32", *common]) == 0
    loaded = bundles.load(str(bundle)).to("cpu", "fp32")
    scan, ready = prepared(loaded.config.grid)
    found = [detect(scan, loaded, "T1", accept_any_scan=True, preparing=lambda *_: ready, seed=3) for _ in range(2)]
    scores = [sitk.GetArrayFromImage(detection.heatmap) for detection in found]
    assert (scores[0] == scores[1]).all() and scores[0].max() > 0  # the same again, and something to see
    assert found[0].measures == found[1].measures
    assert ("severity" in found[0].measures) == ("severity" in loaded.metadata) == (name == "severity")
    if name == "severity":
        assert loaded.trainable.networks["severity"].normal.norm().item() == pytest.approx(1, abs=1e-5)


def test_a_recipe_says_only_in_what_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('based_on = "trial"\nname = "mine"\ncondition = "none"\n[fit]\nbatch = 4\n')
    mine, trial = recipes.load(str(path)), recipes.load("trial")
    assert (mine.name, mine.fit.batch, mine.fit.samples) == ("mine", 4, trial.fit.samples)
    assert mine.bundle.method.condition.features == 0 and mine.sources == trial.sources
    assert recipes.BASE not in mine.text and recipes.parse(recipes.tomllib.loads(mine.text)).bundle == mine.bundle
    path.write_text('based_on = "../trial.toml"\nname = "mine"')
    with pytest.raises(BadInput, match="name of a shipped recipe"):
        recipes.load(str(path))


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("pddpm", {"restore": {"kind": "one_step", "timesteps": [500]}}, "noised in one square, but .* everywhere"),
        ("trial", {"restore": {"kind": "patched"}}, "noised everywhere, but .* in one square"),
        ("vat", {"condition": "none"}, "stages of a residual network"),
        ("vat", {"source": TINY["source"]}, "tells sources apart, and only one"),
    ],
)
def test_parts_that_cannot_work_together_are_refused(name: str, changes: dict[str, Any], told: str) -> None:
    values = recipes.tomllib.loads(recipes.load(name).text)
    with pytest.raises(ValueError, match=told):
        recipes.parse({**values, **changes})


def test_every_system_has_an_objective_that_is_a_table() -> None:
    for name in systems():
        assert isinstance(recipes.load(name).fit.objective, Table)
