"""The shipped bundle of the published map: what it is made of, and how it is made."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import published_map
import pytest

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.run import score
from conddiffusion_uad.protocol.failures import BundleFailure
from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.calibration import Healthy


@pytest.fixture(scope="module")
def shipped() -> tuple[Bundle, Bundle]:
    """It, and the bundle that its denoiser is of."""
    return bundles.load(published_map.RECIPE), bundles.load("residual")


def test_the_denoiser_is_that_of_the_other_bundle_and_all_else_its_own(shipped: tuple[Bundle, Bundle]) -> None:
    own, base = shipped
    for file in (bundles.WEIGHTS, bundles.GATE):
        assert (own.path / file).read_bytes() == (base.path / file).read_bytes(), file
    assert own.config == recipes.load(published_map.RECIPE).bundle
    assert own.config.timesteps == base.config.timesteps, "levels that the denoiser has learned"
    assert own.metadata["held_out"] == base.metadata["held_out"] and own.metadata["started_from"] == base.sha256
    for contrast, calibration in own.calibration.items():
        assert calibration.scans == base.calibration[contrast].scans
        assert calibration.residuals != base.calibration[contrast].residuals
        promised = own.expected[contrast]
        assert promised.scans == 6 and promised.at(promised.threshold(1.0)) <= 1


@pytest.mark.parametrize("contrast", ["T1", "T2", "FLAIR"])
def test_the_map_is_the_published_one(contrast: str, shipped: tuple[Bundle, Bundle]) -> None:
    """As large for what is darker than expected as for what is brighter; a median leaves nothing of two voxels."""
    scan = np.full((12, 12, 40), 0.5, np.float32)
    scan[3:9, 3:9, 3:9] -= 0.2
    scan[3:9, 3:9, 15:21] += 0.2
    scan[5, 5, 30:32] += 0.4
    brain = Volume(scan, np.ones(scan.shape, bool), shipped[0].config.grid)
    restored = Restored(brain, contrast, np.full((1, *scan.shape), 0.5, np.float32), 1)
    dark, bright, speck = (np.s_[5:7, 5:7, x : x + 2] for x in (5, 17, 30))
    found, other = (each.method.anomaly_map[contrast](restored, each.model) for each in shipped)
    assert found[dark] == pytest.approx(0.2) and found[bright] == pytest.approx(0.2) and not found[speck].any()
    assert not (other[dark].any() and other[bright].any()), "the other map has a sign"


def test_it_is_made_of_networks_of_a_bundle_and_a_recipe(shipped: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    recipe = recipes.load(published_map.RECIPE)
    published_map.assembled(shipped[1], recipe, tmp_path / "made")
    made = bundles.load(str(tmp_path / "made"))
    assert made.config == recipe.bundle and not made.calibration and not made.expected
    assert (made.path / "LICENSE").read_bytes() == (shipped[0].path / "LICENSE").read_bytes()
    assert (made.path / bundles.RECIPE).read_bytes() == (shipped[0].path / bundles.RECIPE).read_bytes()
    same = {*made.metadata, *shipped[0].metadata} - {"sha256", "calibrated_with"}
    assert {key: made.metadata[key] for key in same} == {key: shipped[0].metadata[key] for key in same}
    with pytest.raises(BundleFailure, match="cannot be saved"):
        published_map.assembled(shipped[1], recipes.load("paper"), tmp_path / "other")


def test_findings_are_counted_in_whole_scans_only(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two scans of noise and a thin volume; the promise of each threshold is what the two have at it."""
    folder = Path(shutil.copytree(small_bundle, tmp_path / "small"))
    bundles.save_calibration(folder, dict.fromkeys(("T1", "T2"), bundles.load(str(folder)).calibration["T1"]))
    bundle = bundles.load(str(folder)).to("cpu")
    rng, size = np.random.default_rng(0), bundle.config.grid.size[::-1]
    mask = np.zeros(size, bool)
    mask[4:-4, 4:-4, 4:-4] = True
    brains = [Volume(np.where(mask, rng.random(size, np.float32), 0), mask, bundle.config.grid) for _ in range(3)]
    shown = [Healthy(str(number), brain, thin=number == 1) for number, brain in enumerate(brains)]
    monkeypatch.setattr(published_map, "healthy_brains", lambda part, contrast, grid, seed: iter(shown))
    expected = published_map.promised(bundle, [object()], 0)
    assert expected.keys() == {"T1", "T2"}
    for contrast, told in expected.items():
        largest = [float(score(bundle, brains[number], contrast).score.max()) for number in (0, 2)]
        assert told.scans == 2 and told.smallest_ml == 0.05 and told.largest == tuple(sorted(largest))
