"""Gaps and holes of what is large are raised to what is around them, and nothing else changes."""

import numpy as np
import pytest

from conddiffusion_uad.method.anomaly_map.closing import MOST_MM, MOST_SHARE, closed
from conddiffusion_uad.method.anomaly_map.extent import LEAST_ML

SPACING = (1.0, 1.0, 2.0)
SHAPE = (12, 80, 80)
ALL = np.ones(SHAPE, bool)


def ring(gap: int, slices: int = 12) -> np.ndarray:
    """A ring of score 6.3 between 15 and 20 mm from the middle, open for so many mm to one side; in all about 13 ml."""
    y, x = np.ogrid[-40:40, -40:40]
    radius = np.hypot(y, x)
    plane = (radius > 15) & (radius <= 20) & ~((np.abs(y) < gap / 2) & (x > 0))
    found = np.zeros(SHAPE, np.float32)
    found[:slices, plane] = 6.3
    return found


def test_an_open_ring_is_closed_and_filled_at_the_level_below_its_score():
    found = ring(8)
    made = closed(found, ALL, SPACING, 0.7)
    assert (made[:, 30:50, 30:50] == 6).all(), "inside"
    assert (made[:, 38:42, 56:59] == 6).all(), "the gap"
    assert np.array_equal(made[found > 0], found[found > 0]) and not made[:, :18].any()
    assert made.dtype == np.float32 and not found[:, 40, 40].any(), "the map that is given stays as it is"


def test_a_gap_wider_than_the_disk_stays_and_the_disk_grows_with_the_reach():
    wide = ring(14)
    assert not closed(wide, ALL, SPACING, 0.2)[:, 40, 40].any()
    assert closed(wide, ALL, SPACING, 1)[:, 40, 40].all()


def test_each_part_is_raised_to_the_highest_level_at_which_it_is_closed():
    found = ring(8)
    found[:, 37:44, 55:61] = 4.2  # the gap is somewhat unusual itself
    found[:, 30:50, 30:50] = 3.1
    made = closed(found, ALL, SPACING, 0.05)  # too little to close what is open
    assert (made[:, 26:29, 38:42] == 4).all(), "the level up to which the ring is whole"
    assert (made[:, 38:42, 56:59] == np.float32(4.2)).all()


@pytest.mark.parametrize("reach", [0, 0.7, 1])
def test_what_is_small_hardly_unusual_or_outside_of_the_brain_stays(reach):
    small = np.zeros(SHAPE, np.float32)
    small[:4, 10:26, 10:26] = 8
    small[:4, 12:24, 12:24] = 0  # the rim of a square
    assert (small > 0).sum() * 0.002 < LEAST_ML
    faint = np.minimum(ring(8), 2.9)
    for found in (small, faint, np.zeros(SHAPE, np.float32)):
        assert np.array_equal(closed(found, ALL, SPACING, reach), found)
    half = ALL.copy()
    half[:, :, 40:] = False
    assert not closed(ring(8) * half, half, SPACING, reach)[~half].any()


def test_the_disk_is_round_in_millimeters_and_has_a_largest_size():
    found = np.zeros((20, 120, 120), np.float32)
    found[:, 10:40, 10:70] = found[:, 70:100, 10:70] = 5
    found[:, 40:70, 10:14] = 5  # a bridge makes them one, 30 voxels apart
    near, far = (closed(found, np.ones(found.shape, bool), (1.0, y, 2.0), 1)[:, 55, 40] for y in (1.0, 2.0))
    assert 30 < 2 * MOST_MM < 60 and near.all() and not far.any()


def test_what_is_larger_than_any_anomaly_stays():
    found = ring(8)
    brain = np.broadcast_to(np.hypot(*np.ogrid[-40:40, -40:40]) < 22, SHAPE)
    assert (found > 0).sum() > MOST_SHARE * brain.sum()
    assert np.array_equal(closed(found, brain, SPACING, 0.7), found)
    assert not closed(np.zeros((0, 4, 4), np.float32), np.zeros((0, 4, 4), bool), SPACING, 0.7).size
