"""Every recipe of a related system trains, calibrates and finds its way through a detection, with a tiny network."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk
import tomli_w
from lesion_drawers import unlearned_drawer
from thin_files import disks, write_thin
from tiny_systems import TINY, tiny

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


def systems() -> list[str]:
    """The recipes that are based on another one."""
    return sorted(path.stem for path in recipes.SHIPPED.glob("*.toml") if recipes.BASE in path.read_text())


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
    fit = ["train", "fit", "--recipe", str(tmp_path / "recipe.toml"), "--output", str(bundle), *common]
    if name == "lesion-simulator":  # which draws by what `train lesions` made
        fit += ["--lesions", str(unlearned_drawer(tmp_path / "lesions.safetensors", contrasts=("T1",)))]
    assert main(fit) == 0
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
