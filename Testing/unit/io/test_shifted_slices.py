"""Slices that are shifted within their plane come to lie where they belong, unmixed."""

from __future__ import annotations

import numpy as np
import pytest

from conddiffusion_uad.io.geometry import affine_of
from conddiffusion_uad.io.grid import Grid
from conddiffusion_uad.io.shifted_slices import straightened

GRID = Grid((20, 24, 6), (2.0, 1.5, 5.0), (-7.0, 3.0, 40.0), (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize("shift", [(0.0, 0.36), (0.0, -0.36), (0.7, 0.0), (-1.3, 0.55)])
def test_values_that_change_linearly_in_space_stay_at_their_places(shift: tuple[float, float]) -> None:
    """Each slice has a ramp of its own, so that a value of another slice would show."""
    affine = affine_of(GRID)
    sheared = affine.copy()
    sheared[:3, 2] += affine[:3, :2] @ np.array(shift)
    ramp = np.array([3.0, -2.0, 0.0])

    def value(places: np.ndarray, slices: np.ndarray) -> np.ndarray:
        return 500 + ramp @ places + 100 * (slices % 3)

    indices = np.indices(GRID.size).reshape(3, -1)
    stored = value(sheared[:3, :3] @ indices + sheared[:3, 3:], indices[2]).reshape(GRID.size).astype(np.float32)
    image = straightened(GRID.with_array(stored.transpose(2, 1, 0)), shift)

    found = Grid.of(image)
    assert (found.spacing, found.size[2]) == (GRID.spacing, GRID.size[2])
    inner = np.indices(found.size).reshape(3, -1)
    places = affine_of(found)[:3, :3] @ inner + affine_of(found)[:3, 3:]
    sources = (np.linalg.inv(sheared) @ np.vstack([places, np.ones(len(places[0]))]))[:3]
    inside = ((sources[:2] >= 1e-3) & (sources[:2] <= np.array(GRID.size[:2])[:, None] - 1.001)).all(axis=0)
    assert inside.sum() > 0.75 * stored.size
    for x, y, z in ((0, 0, 0), (19, 23, 0), (0, 0, 5), (19, 23, 5)):  # no corner of a slice is lost
        place = np.linalg.inv(affine_of(found)) @ sheared @ (x, y, z, 1)
        assert (place[:3] > -1e-3).all()
        assert (place[:3] < np.array(found.size) - 0.999).all()
    got = np.array([image[tuple(map(int, index))] for index in inner.T])
    np.testing.assert_allclose(got[inside], value(places, inner[2])[inside], rtol=1e-4)
