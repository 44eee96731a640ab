"""To the model's grid and back: nothing is lost, nothing is mixed in, nothing aliases."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing.resampling import enlarge, to_grid

GRID = Grid((32, 40, 30), (2.0, 2.0, 2.0), (-31.0, -39.0, -29.0))
SAME = sitk.AffineTransform(3)


def box(grid: Grid, low: tuple[float, float, float], high: tuple[float, float, float]) -> sitk.Image:
    """A mask of the voxels whose centers lie between two points, mm."""
    z, y, x = np.indices(grid.size[::-1])
    inside = np.ones(z.shape, bool)
    for axis, index in enumerate((x, y, z)):
        place = grid.origin[axis] + index * grid.spacing[axis]
        inside &= (place >= low[axis]) & (place <= high[axis])
    return grid.with_array(inside.astype(np.uint8))


def test_a_grid_that_holds_the_mask_stays_as_it_is() -> None:
    mask = box(Grid((80, 80, 80), (1.0, 1.0, 1.0), (-40.0, -40.0, -40.0)), (-20, -20, -20), (20, 20, 20))
    assert enlarge(GRID, mask, SAME) == GRID


def test_a_grid_grows_on_its_own_lattice_until_all_of_the_mask_is_inside() -> None:
    wide = Grid((160, 160, 160), (1.0, 1.0, 1.0), (-80.0, -80.0, -80.0))
    mask = box(wide, (-35, -20, -50), (70, 41, 20))
    transform = sitk.AffineTransform(3)
    transform.Rotate(0, 1, 0.2)
    for place in (SAME, transform):
        grown = enlarge(GRID, mask, place)
        assert all((new - old) % 8 == 0 for new, old in zip(grown.size[:2], GRID.size[:2], strict=True))
        shift = (np.array(GRID.origin) - grown.origin) / GRID.spacing
        np.testing.assert_allclose(shift, np.rint(shift), atol=1e-9)
        assert (shift >= 0).all()
        result = to_grid(sitk.Cast(mask, sitk.sitkFloat32), mask, GRID, place)
        assert result.mask.sum() * 8 == pytest.approx(sitk.GetArrayViewFromImage(mask).sum(), rel=0.03)
        rim = np.ones(result.mask.shape, bool)
        rim[1:-1, 1:-1, 1:-1] = False
        back = sitk.GetArrayFromImage(result.back_inside(result.mask.astype(np.float32), Grid.of(mask)))
        assert back[sitk.GetArrayViewFromImage(mask) > 0].min() > 0.99


def test_detail_finer_than_the_grid_is_averaged_not_aliased() -> None:
    fine = Grid((120, 120, 120), (0.5, 0.5, 0.5), (-29.75, -29.75, -29.75))
    z, y, x = np.indices(fine.size[::-1])
    stripes = fine.with_array(((x // 2 + y // 2 + z // 2) % 2 * 200.0).astype(np.float32))
    result = to_grid(stripes, box(fine, (-25, -25, -25), (25, 25, 25)), GRID, SAME)
    inner = result.volume[8:-8, 12:-12, 8:-8]
    assert inner.mean() == pytest.approx(100.0, abs=1.0)
    assert inner.std() < 10.0  # without smoothing: 60 and more


def test_what_surrounds_the_brain_does_not_reach_it() -> None:
    grid = Grid((60, 60, 60), (1.0, 1.0, 1.0), (-29.5, -29.5, -29.5))
    mask = box(grid, (-15, -15, -15), (15, 15, 15))
    for outside in (0.0, 1e4, -1e4):
        values = np.where(sitk.GetArrayFromImage(mask) > 0, 100.0, outside).astype(np.float32)
        result = to_grid(grid.with_array(values), mask, GRID, SAME)
        np.testing.assert_allclose(result.volume[result.mask], 100.0, rtol=1e-4)
        assert not result.volume[~result.mask].any()


def test_back_is_zero_beyond_the_grid_and_keeps_the_rim_inside() -> None:
    grid = Grid((100, 100, 100), (1.0, 1.0, 1.0), (-49.5, -49.5, -49.5))
    mask = box(grid, (-15, -15, -15), (15, 15, 15))
    result = to_grid(sitk.Cast(mask, sitk.sitkFloat32), mask, GRID, SAME)
    everywhere = sitk.GetArrayFromImage(result.back(np.ones(result.mask.shape, np.float32), grid))
    assert everywhere[50, 50, 50] == 1.0
    assert everywhere[50, 50, 2] == 0.0
    scores = np.where(result.mask, 3.0, 0.0).astype(np.float32)
    inside = sitk.GetArrayFromImage(result.back_inside(scores, grid))[sitk.GetArrayViewFromImage(mask) > 0]
    np.testing.assert_allclose(inside, 3.0, rtol=1e-5)
