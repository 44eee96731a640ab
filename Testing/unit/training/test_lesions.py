"""`train lesions` as a program: from scans and lesion maps to a file, and from that to a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from lesion_drawers import TINY_LESIONS
from thin_files import disks, write_thin
from tiny_systems import tiny

from conddiffusion_uad.app.cli import main
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, EXIT_DONE, EXIT_OUTPUT
from conddiffusion_uad.protocol.job import CONTRASTS
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.synthetic_anomalies.diffused import lesion_file, pairs

SPOTS = (8, 15)  # first row or column of a lesion, and one after its last


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Healthy slices in t1, the same with a bright lesion in sick, lesion maps, the table and a recipe."""
    table = ["scan,lesions,contrast"]
    for number, image in enumerate(disks(9)):
        lesion = np.zeros(image.shape)
        lesion[slice(*SPOTS), slice(*SPOTS)] = 1
        lesion *= image > 0
        write_thin(tmp_path / "t1" / f"{number:02d}.nii.gz", image)
        write_thin(tmp_path / "sick" / f"{number:02d}.nii.gz", image + 60 * lesion)
        write_thin(tmp_path / "sick" / f"{number:02d}_seg.nii.gz", 3 * lesion)
        table.append(f"sick/{number:02d}.nii.gz,sick/{number:02d}_seg.nii.gz,T1")
    (tmp_path / "lesions.csv").write_text("\n".join(table))
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(tiny("lesion-simulator")))
    return tmp_path


def learn(data: Path, *more: str, labels: str = "lesions.csv", output: str = "drawer.safetensors") -> int:
    files = ["--recipe", str(data / "recipe.toml"), "--labels", str(data / labels), "--data", str(data)]
    return main(["train", "lesions", *files, "--output", str(data / output), "--device", "cpu", *more])


def fit(data: Path, *more: str) -> int:
    files = ["--recipe", str(data / "recipe.toml"), "--data", str(data), "--output", str(data / "bundle")]
    return main(["train", "fit", *files, "--device", "cpu", *more])


def test_scans_of_one_name_in_different_folders_are_different_scans(data: Path) -> None:
    lines = ["scan,lesions,contrast"]
    for number in range(2):
        (data / f"patient{number}").mkdir()
        for name in ("", "_seg"):
            (data / "sick" / f"0{number}{name}.nii.gz").rename(data / f"patient{number}" / f"t1{name}.nii.gz")
        lines.append(f"patient{number}/t1.nii.gz,patient{number}/t1_seg.nii.gz,T1")
    (data / "lesions.csv").write_text("\n".join(lines))
    grid = recipes.load(str(data / "recipe.toml")).bundle.grid
    shown = pairs.lesion_slices(data / "lesions.csv", data, grid, lambda _: None)
    assert [each.scan for each in shown] == ["patient0/t1.nii.gz", "patient1/t1.nii.gz"]


def test_a_bundle_learns_from_lesions_that_were_learned(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert learn(data) == EXIT_DONE
    said = capfd.readouterr().err
    assert "Learning from 9 slices" in said and "--lesions" in said
    drawer = lesion_file.load(data / "drawer.safetensors")
    assert drawer.learned.contrasts == (CONTRASTS.index("T1"),)
    assert drawer.learned.scans == tuple(f"sick/{number:02d}.nii.gz" for number in range(9))
    assert drawer.learned.largest_mm2 == (SPOTS[1] - SPOTS[0]) ** 2 * 64  # pixels of 8 mm
    assert not list(data.glob("*checkpoint*"))
    assert fit(data, "--lesions", str(data / "drawer.safetensors")) == EXIT_DONE
    told = json.loads((data / "bundle" / bundles.METADATA).read_text())
    assert told["lesion_drawer"] == drawer.digest
    assert main(["train", "calibrate", str(data / "bundle"), "--data", str(data), "--device", "cpu"]) == EXIT_DONE
    assert learn(data) == EXIT_OUTPUT  # nothing is replaced unasked


def test_without_what_draws_nothing_is_trained(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert fit(data) == EXIT_BAD_INPUT
    assert "--lesions" in capfd.readouterr().err and not (data / "bundle" / bundles.METADATA).exists()
    plain = tiny("pddpm")
    (data / "recipe.toml").write_text(tomli_w.dumps(plain))
    assert fit(data, "--lesions", str(data / "drawer.safetensors")) == EXIT_BAD_INPUT
    assert "No anomaly of the recipe" in capfd.readouterr().err
    assert learn(data) == EXIT_BAD_INPUT
    assert "no table [lesions]" in capfd.readouterr().err


def test_all_that_is_wrong_with_the_table_is_told_first(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = (data / "lesions.csv").read_text().splitlines()
    wrong = ["sick/99.nii.gz,sick/00_seg.nii.gz,T1", "sick/00.nii.gz,,T1"]
    (data / "wrong.csv").write_text("\n".join([*lines, *wrong]))
    assert learn(data, labels="wrong.csv") == EXIT_BAD_INPUT
    assert "(2)" in capfd.readouterr().err and not (data / "drawer.safetensors").exists()
    assert learn(data, "--skip-bad", labels="wrong.csv") == EXIT_DONE
    (data / "other.csv").write_text("\n".join([lines[0], lines[1].replace("T1", "PD")]))
    assert learn(data, labels="other.csv", output="other.safetensors") == EXIT_BAD_INPUT
    assert "'PD'" in capfd.readouterr().err
    (data / "none.csv").write_text("\n".join([lines[0], "t1/00.nii.gz,t1/none.nii.gz,T1"]))
    write_thin(data / "t1" / "none.nii.gz", np.eye(24) * 0)
    assert learn(data, labels="none.csv", output="none.safetensors") == EXIT_BAD_INPUT
    (data / "columns.csv").write_text("scan,mask\na,b")
    assert learn(data, labels="columns.csv", output="none.safetensors") == EXIT_BAD_INPUT
    assert "no columns scan and lesions" in capfd.readouterr().err


def test_a_recipe_says_how_lesions_are_learned(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    values = tiny("lesion-simulator")
    for change, said in (
        ({"network": 3}, "[lesions.network] is no table"),
        ({"network": {**TINY_LESIONS["network"], "depth": 2}}, "unknown key 'depth'"),
        ({"objective": {"kind": "denoising"}}, "unknown key"),
    ):
        (data / "recipe.toml").write_text(tomli_w.dumps({**values, "lesions": {**values["lesions"], **change}}))
        code = learn(data)
        assert code == EXIT_BAD_INPUT and said in capfd.readouterr().err, change
