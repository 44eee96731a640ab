"""What is large counts for more, what is small keeps its score, and nothing else changes."""

import numpy as np
import pytest

from conddiffusion_uad.method.anomaly_map.extent import LEAST_ML, LEVELS, enlarged

VOXEL_ML = 0.002
LARGE = int(8 * LEAST_ML / VOXEL_ML)  # voxels


def cube(shape: tuple[int, int, int], score: float) -> np.ndarray:
    """A box of a score in the middle of nothing."""
    return np.pad(np.full(shape, score, np.float32), 2)


def test_what_is_large_is_raised_by_its_volume():
    found = cube((20, 24, 25), 5)
    assert (found > 0).sum() == LARGE
    raised = enlarged(found, VOXEL_ML, 0.5)
    # from 3 on each step of the cube of the score counts by the root of eight
    assert raised[12, 12, 12] == pytest.approx((27 + 8**0.5 * (125 - 27)) ** (1 / 3), rel=1e-5)
    assert not raised[found == 0].any() and raised.dtype == np.float32


def test_each_level_counts_by_what_is_connected_at_it():
    found = cube((20, 24, 25), 3.9)
    found[4:8, 4:8, 4:8] = 6  # .13 ml on a plateau of 24 ml
    found[0, 0, 0] = 6  # and alone
    raised = enlarged(found, VOXEL_ML, 1)
    voxel = 27 + 8 * (64 - 27) + 6**3 - 64
    assert raised[5, 5, 5] == pytest.approx(voxel ** (1 / 3), rel=1e-5)
    assert raised[0, 0, 0] == pytest.approx(6)


@pytest.mark.parametrize("power", [0, 0.3, 1])
def test_nothing_loses_and_what_is_small_or_hardly_unusual_stays(power):
    rng = np.random.default_rng(3)
    found = np.zeros((12, 40, 40), np.float32)
    found[3:6, 3:12, 3:12] = rng.uniform(0, 12, (3, 9, 9))  # less than 3 ml in all
    found[:, 20:, 20:] = rng.uniform(0, 2.99, (12, 20, 20))
    before = found.copy()
    assert np.allclose(enlarged(found, VOXEL_ML, power), found, rtol=1e-5)
    assert np.array_equal(found, before), "the map that is given stays as it is"
    large = cube((20, 24, 25), 1) * rng.uniform(0, 12, (24, 28, 29)).astype(np.float32)
    assert (enlarged(large, VOXEL_ML, power) >= large).all()


def test_a_higher_score_never_ends_below_a_lower_one_of_the_same_part():
    found = cube((20, 24, 25), 1) * np.linspace(0, 11, 29, dtype=np.float32)
    raised = enlarged(found, VOXEL_ML, 0.5)[12, 12]
    assert (np.diff(raised[3:-2]) >= 0).all()
    near = [enlarged(cube((20, 24, 25), level), VOXEL_ML, 0.5).max() for level in (LEVELS[3], LEVELS[3] - 1e-4)]
    assert near[0] == pytest.approx(near[1], abs=1e-3), "there is no step at a level"


def test_a_map_of_nothing_stays_nothing():
    assert not enlarged(np.zeros((2, 3, 4), np.float32), VOXEL_ML, 1).any()
