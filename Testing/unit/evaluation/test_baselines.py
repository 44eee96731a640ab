import numpy as np
import pytest

from conddiffusion_uad.evaluation.baselines import asymmetry, baseline_maps, blur_residual, robust_z
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.anomaly_map.residual import Residual

GRID = Grid((8, 6, 4), (2.0, 2.0, 2.0), (-7.0, 0.0, 0.0))  # the plane x = 0 is halfway


@pytest.fixture
def brain() -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((4, 6, 8), bool)
    mask[:, 1:5, 1:7] = True
    return np.where(mask, 0.5, 0).astype(np.float32), mask


def test_symmetric_brain_has_no_asymmetry(brain: tuple[np.ndarray, np.ndarray]) -> None:
    volume, mask = brain
    assert not asymmetry(volume, mask, GRID).any()
    assert not asymmetry(volume, mask, None).any()


def test_lesion_and_its_mirror_image_are_asymmetric(brain: tuple[np.ndarray, np.ndarray]) -> None:
    volume, mask = brain
    volume[2, 3, 2] = 0.9
    for grid in (GRID, None):
        found = np.argwhere(asymmetry(volume, mask, grid) > 0.3)
        assert found.tolist() == [[2, 3, 2], [2, 3, 5]]


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


def test_every_baseline_is_confined_to_the_brain_and_random_is_repeatable(
    brain: tuple[np.ndarray, np.ndarray],
) -> None:
    volume, mask = brain
    volume += np.random.default_rng(1).normal(0, 0.05, volume.shape).astype(np.float32) * mask
    first, second = (baseline_maps(volume, mask, Residual(), GRID, seed=3) for _ in range(2))
    for name, values in first.items():
        assert values.shape == volume.shape and values[mask].any() and not values[~mask].any(), name
        assert np.array_equal(values, second[name])
    assert not np.array_equal(first["random"], baseline_maps(volume, mask, Residual(), GRID, seed=4)["random"])
