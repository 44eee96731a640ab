"""The plane between healthy and sick slices is Fisher's, and a copy of the bundle keeps it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from thin_files import disks, write_thin
from tiny_recipe import TINY_MODEL

from conddiffusion_uad.app.cli import main
from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.measures.severity import Severity
from conddiffusion_uad.method.run import score
from conddiffusion_uad.protocol.failures import EXIT_BAD_INPUT, EXIT_OUTPUT
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.severity import SHRINKAGE, auroc, fit_plane


def drawn(scans: int, apart: np.ndarray, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Features of slices: normal, with the same covariance, and as far apart as said."""
    rng = np.random.default_rng(seed)
    scale = np.array([1.0, 3.0])
    return [(rng.normal(size=(40, 2)) * scale, rng.normal(size=(40, 2)) * scale + apart) for _ in range(scans)]


def test_the_plane_is_that_of_the_discriminant() -> None:
    apart = np.array([1.0, 1.0])
    plane = fit_plane(drawn(50, apart), drawn(50, apart, seed=1))
    covariance = (1 - SHRINKAGE) * np.diag([1.0, 9.0]) + SHRINKAGE * 5 * np.eye(2)
    expected = np.linalg.solve(covariance, apart)
    expected /= np.linalg.norm(expected)
    assert plane.normal.numpy() == pytest.approx(expected, abs=0.05)
    assert plane.offset.item() == pytest.approx(expected @ apart / 2, abs=0.05)
    assert plane(torch.zeros(1, 2)).item() < 0 < plane(torch.from_numpy(apart).float()[None]).item()
    assert plane.share_below(-10) == 0 and plane.share_below(10) == 1
    middle = float(plane(torch.zeros(1, 2)))
    assert plane.share_below(middle) == pytest.approx(0.5, abs=0.2)


def test_slices_that_do_not_differ_are_told_apart_by_chance() -> None:
    nothing, much = np.zeros(2), np.array([8.0, 0.0])
    assert auroc(fit_plane(drawn(5, nothing), drawn(5, nothing)), drawn(50, nothing, seed=2)) == pytest.approx(
        0.5, abs=0.06
    )
    assert auroc(fit_plane(drawn(5, much), drawn(5, much)), drawn(50, much, seed=2)) > 0.99


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Data and a bundle that was fitted to them."""
    folder = tmp_path_factory.mktemp("data")
    for number, image in enumerate(disks(9)):
        write_thin(folder / "t2" / f"{number:02d}.nii.gz", image)
    values = recipes.tomllib.loads(TINY_MODEL)
    values["fit"] = {"samples": 16, "batch": 8, "learning_rate": 1e-3, "precision": "fp32"}
    values["fit"]["objective"] = {"kind": "denoising"}
    values["source"] = [{"kind": "scans", "files": "t2/*.nii.gz", "contrast": "T2", "weight": 1.0, "held_out": 3}]
    (folder / "recipe.toml").write_text(tomli_w.dumps(values))
    output = tmp_path_factory.mktemp("bundles") / "tiny"
    common = ["--data", str(folder), "--device", "cpu"]
    assert main(["train", "fit", "--recipe", str(folder / "recipe.toml"), "--output", str(output), *common]) == 0
    return folder, output


def severity(data: Path, bundle: Path, output: Path) -> int:
    return main(["train", "severity", str(bundle), "--output", str(output), "--data", str(data), "--device", "cpu"])


def test_a_copy_of_the_bundle_grades_scans(fitted: tuple[Path, Path], tmp_path: Path) -> None:
    data, bundle = fitted
    assert severity(data, bundle, tmp_path / "graded") == 0
    graded, before = (bundles.load(str(path)) for path in (tmp_path / "graded", bundle))
    assert graded.method.measures == (Severity(8),) and not before.method.measures
    assert 0 <= graded.metadata["severity"]["auroc"] <= 1 and graded.metadata["severity"]["scans"] == 3
    learned = dict(graded.trainable.named_parameters())
    assert all(torch.equal(learned[name], value) for name, value in before.trainable.named_parameters())
    assert graded.trainable.networks["severity"].normal.norm().item() == pytest.approx(1, abs=1e-5)
    volume = np.random.default_rng(0).uniform(0.2, 0.9, (3, 24, 24)).astype(np.float32)
    told = score(graded, Volume(volume, np.ones(volume.shape, bool), graded.config.grid), "T2").measures
    assert told.keys() == {"severity", "severity_healthy"} and told["severity"] != 0
    assert severity(data, bundle, tmp_path / "graded") == EXIT_OUTPUT
    (tmp_path / "bare").mkdir()
    assert severity(data, tmp_path / "bare", tmp_path / "second") != 0


def test_a_fit_that_could_not_be_graded_does_not_begin(
    fitted: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, _ = fitted
    values = recipes.tomllib.loads((data / "recipe.toml").read_text())
    values["measures"] = [{"kind": "severity", "features": 8}]
    values["source"][0]["held_out"] = 0
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(values))
    output = ["--output", str(tmp_path / "graded"), "--data", str(data), "--device", "cpu"]
    assert main(["train", "fit", "--recipe", str(tmp_path / "recipe.toml"), *output]) == EXIT_BAD_INPUT
    assert "severity needs healthy scans" in capsys.readouterr().err
    assert not list((tmp_path / "graded").glob("checkpoint*"))


def test_a_bundle_without_recipe_is_refused(fitted: tuple[Path, Path], small_bundle: Path, tmp_path: Path) -> None:
    assert severity(fitted[0], small_bundle, tmp_path / "graded") == EXIT_BAD_INPUT
