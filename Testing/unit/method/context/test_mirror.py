"""The other side of a brain that leans in the atlas."""

import math

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.method.context.mirror import middle, mirrored, registered

GRID = Grid((96, 112, 48), (1.0, 1.0, 2.0), (-47.5, -55.5, -47.0))
SPOT = (22.0, 10.0, 4.0)  # mm, on one side only


@pytest.fixture(scope="module")
def leaning():
    """A brain whose sides are the same but for a spot, moved by 2 mm and turned by 2 and 3 degrees, with its mask."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in GRID.size[::-1]), indexing="ij")
    x, y, z = (o + s * i for o, s, i in zip(GRID.origin, GRID.spacing, (x, y, z), strict=True))
    inside = (x / 36) ** 2 + (y / 46) ** 2 + (z / 38) ** 2 < 1
    image = inside * (0.6 + 0.2 * np.sin(np.abs(x) / 4) * np.cos(y / 7) + 0.1 * np.sin(z / 5))
    image += 0.3 * (np.hypot(np.hypot(x - SPOT[0], y - SPOT[1]), z - SPOT[2]) < 5)
    lean = sitk.Euler3DTransform()
    lean.SetRotation(0.0, math.radians(2.0), math.radians(3.0))
    lean.SetTranslation((2.0, 0.0, 0.0))

    def moved(values):
        return sitk.GetArrayFromImage(sitk.Resample(GRID.with_array(values.astype(np.float32)), lean))

    mask = moved(inside) > 0.5
    return moved(image) * mask, mask, lean


def test_a_brain_that_leans_is_mirrored_at_its_own_middle(leaning):
    volume, mask, _ = leaning
    own, plain = registered(volume, mask, GRID), mirrored(volume, middle(mask, GRID))
    apart = [float(np.abs(other - volume)[mask].mean()) for other in (own, plain)]
    assert own.shape == volume.shape and own.dtype == np.float32
    assert apart[0] < 0.035 and apart[1] > 0.08
    both = (own > 0) & mask
    assert both.sum() > 0.97 * mask.sum(), "and so is its outline"


def test_what_is_on_one_side_only_is_seen_on_the_other(leaning):
    volume, mask, lean = leaning
    own = registered(volume, mask, GRID)
    here, there = (lean.GetInverse().TransformPoint((side * SPOT[0], *SPOT[1:])) for side in (1, -1))
    (x, y, z), (u, v, w) = GRID.index(here), GRID.index(there)
    assert volume[z, y, x] - own[z, y, x] > 0.15 and own[w, v, u] - volume[w, v, u] > 0.15


def test_the_same_scan_is_mirrored_alike_bit_by_bit(leaning):
    first, second = (registered(*leaning[:2], GRID) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("case", ["empty", "even", "few slices", "far"])
def test_what_cannot_be_registered_is_mirrored_in_the_atlas(leaning, case):
    volume, mask, _ = leaning
    grid = GRID
    if case == "empty":
        volume, mask = volume * 0, mask & False
    elif case == "even":
        volume = mask.astype(np.float32) * 0 + 0.5
    elif case == "few slices":
        grid = Grid((*GRID.size[:2], 6), GRID.spacing, GRID.origin)
        volume, mask = volume[24:30], mask[24:30]
    else:  # a brain that lies beside the middle is no brain in the atlas
        grid = Grid(GRID.size, GRID.spacing, (-27.5, *GRID.origin[1:]))
    assert np.array_equal(registered(volume, mask, grid), mirrored(volume, middle(mask, grid)))
