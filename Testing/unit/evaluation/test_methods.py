from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.evaluation import methods
from conddiffusion_uad.evaluation.data.cases import Case, Examined
from conddiffusion_uad.evaluation.methods import (
    BASELINES,
    asymmetry,
    baseline_maps,
    blur_residual,
    existing_map,
    rank_score,
    robust_z,
)
from conddiffusion_uad.evaluation.settings import Rule, Settings
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.intensity import rank_normalized

GRID = Grid((8, 6, 4), (2.0, 2.0, 2.0), (-7.0, 0.0, 0.0))  # the plane x = 0 is halfway


@pytest.fixture
def brain() -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((4, 6, 8), bool)
    mask[:, 1:5, 1:7] = True
    return np.where(mask, 0.5, 0).astype(np.float32), mask


def placed(volume: np.ndarray, mask: np.ndarray) -> Examined:
    """A brain as a scan whose own grid is the model's."""
    prepared = Volume(volume, mask, Grid(volume.shape[::-1], (2.0,) * 3, (-31.0, 0.0, 0.0)))
    return OnModelsGrid(Case("p", "set", "T1", Path("scan")), prepared, mask, mask & False, (2.0,) * 3)


class OnModelsGrid(Examined):
    def native(self, scores: np.ndarray) -> np.ndarray:
        return np.where(self.native_mask, scores, 0).astype(np.float32)


def test_symmetric_brain_has_no_asymmetry(brain: tuple[np.ndarray, np.ndarray]) -> None:
    volume, mask = brain
    assert not asymmetry(volume, mask, GRID).any()


def test_lesion_and_its_mirror_image_are_asymmetric(brain: tuple[np.ndarray, np.ndarray]) -> None:
    volume, mask = brain
    volume[2, 3, 2] = 0.9
    assert np.argwhere(asymmetry(volume, mask, GRID) > 0.3).tolist() == [[2, 3, 2], [2, 3, 5]]


def test_asymmetry_mirrors_between_voxels_at_the_plane_of_the_atlas(brain: tuple[np.ndarray, np.ndarray]) -> None:
    volume, mask = brain
    volume[2, 3, 2] = 0.9
    shifted = Grid(GRID.size, GRID.spacing, (-8.0, 0.0, 0.0))  # the plane lies at index 4
    assert np.argwhere(asymmetry(volume, mask, shifted) > 0.3).tolist() == [[2, 3, 2], [2, 3, 6]]
    between = Grid(GRID.size, GRID.spacing, (-7.5, 0.0, 0.0))  # at index 3.75, the mirrored place at 5.5
    values = asymmetry(volume, mask, between)[2, 3]
    assert values[5] == pytest.approx(values[6], abs=1e-6)
    assert values[5] == pytest.approx(0.2, abs=1e-6)


def test_places_without_counterpart_are_not_asymmetric(brain: tuple[np.ndarray, np.ndarray]) -> None:
    volume, mask = brain
    volume[2, 3, 1] = 0.9
    mask[:, :, 6] = False
    assert asymmetry(volume, mask, GRID)[2, 3, 1] == 0


def test_robust_z_counts_deviations_from_the_median() -> None:
    volume = np.array([[[0.0, 0.4, 0.5, 0.6, 0.5, 0.9, 0.4, 0.6]]])
    mask = volume > 0
    z = robust_z(volume, mask)  # median 0.5, MAD 0.1
    assert z[0, 0, 5] == pytest.approx(0.4 / 0.14826, rel=1e-5)
    assert z[0, 0, 0] == 0
    assert not robust_z(np.full((1, 2, 2), 0.5), np.ones((1, 2, 2), bool)).any()
    assert not robust_z(volume, np.zeros(volume.shape, bool)).any()


def test_blur_residual_of_a_flat_brain_is_nothing(brain: tuple[np.ndarray, np.ndarray]) -> None:
    assert blur_residual(*brain).max() < 1e-6


def test_blur_residual_finds_what_stands_out_and_not_the_rim() -> None:
    mask = np.zeros((24, 24, 24), bool)
    mask[4:20, 4:20, 4:20] = True
    volume = mask * 0.5
    volume[12, 12, 12] = 1.0
    residual = blur_residual(volume, mask)
    assert residual[12, 12, 12] == pytest.approx(0.5, abs=0.01)
    assert residual[4, 12, 12] < 0.02


def test_rank_normalized_intensity_is_uniform_inside_the_brain_whatever_the_contrast() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((10, 10, 10)) < 0.5
    volume = rng.gamma(1.0, 1.0, mask.shape)
    score = rank_normalized(volume, mask)
    assert np.sort(score[mask]) == pytest.approx(np.arange(1, mask.sum() + 1) / mask.sum())
    assert np.array_equal(score, rank_normalized(np.exp(volume), mask))
    assert not score[~mask].any()


def test_every_baseline_is_confined_to_the_brain_and_repeatable(small_bundle: Path) -> None:
    bundle = bundles.load(str(small_bundle))
    mask = np.zeros((3, 32, 32), bool)
    mask[:, 4:28, 4:28] = True
    volume = np.where(mask, np.random.default_rng(1).random(mask.shape), 0).astype(np.float32)
    examined = placed(volume, mask)
    for name, make in BASELINES.items():
        values = make(examined, bundle, 3)
        assert values.shape == mask.shape and values[mask].any() and not values[~mask].any(), name
        assert np.array_equal(values, make(examined, bundle, 3)), name
        assert np.array_equal(values, make(examined, bundle, 4)) == (name != "random"), name


def test_only_the_baselines_asked_for_are_computed(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    spies = {name: lambda e, *_, name=name: made.append(name) or e.volume for name in BASELINES}
    monkeypatch.setattr(methods, "BASELINES", spies)
    mask = np.ones((3, 4, 4), bool)
    examined, bundle = placed(mask.astype(np.float32), mask), bundles.load(str(small_bundle))
    assert list(baseline_maps(examined, bundle, Settings())) == []
    assert [each.name for each in baseline_maps(examined, bundle, Settings(baselines=("random",)))] == ["random"]
    assert made == ["random"]


def test_rank_score_flags_the_top_percent_of_each_brain() -> None:
    mask = np.ones((1, 10, 100), bool)
    mask[0, 0] = False
    values = np.random.default_rng(0).permutation(1000).reshape(mask.shape).astype(np.float32) * 7
    score = rank_score(values, mask)
    assert (score >= 2).sum() == 9
    assert not score[~mask].any()
    order = np.argsort(values[mask])
    assert np.all(np.diff(score[mask][order]) > 0)


def test_equal_values_share_a_rank_so_that_nothing_is_flagged_by_chance() -> None:
    score = rank_score(np.zeros((1, 10, 10), np.float32), np.ones((1, 10, 10), bool))
    assert not score.any()


@pytest.mark.parametrize("flagged", [0.05, 0.01, 0.003])
def test_a_value_of_another_map_that_is_its_threshold_is_flagged(tmp_path: Path, flagged: float) -> None:
    """Whatever the numbers are: a map of zeros and ones has no other value that could be."""
    values = np.zeros((4, 6, 8), np.float32)
    where: Any = SimpleNamespace(
        case=Case("p", "set", "T1", Path("scan")),
        prepared=SimpleNamespace(reference=GRID),
        native_mask=np.ones(values.shape, bool),
    )
    for limit in np.linspace(0.01, 3, 100):
        values[2] = limit
        sitk.WriteImage(GRID.with_array(values), str(tmp_path / "p.nii.gz"))
        settings = Settings(maps=tmp_path, maps_threshold=float(limit), rule=Rule(healthy_flagged=flagged))
        found = existing_map(where, settings)
        assert np.array_equal(found.score >= found.threshold, values > 0), limit
