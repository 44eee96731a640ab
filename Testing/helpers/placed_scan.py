"""A small scan on an oblique grid, and what is asked of the readers about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conddiffusion_uad.io import volume
from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.protocol.failures import BadInput

GRID = Grid((20, 24, 16), (2.5, 2.0, 4.0), (-30.0, 12.5, 7.0), (0.8, 0.6, 0.0, -0.6, 0.8, 0.0, 0.0, 0.0, 1.0))


def scan(dtype: type = np.int16, scale: float = 100.0, shift: float = 500.0) -> sitk.Image:
    """Noise about a mean on :data:`GRID`."""
    random = np.random.default_rng(0)
    return GRID.with_array((random.normal(shift, scale, GRID.size[::-1])).astype(dtype))


def refused(path: Path) -> BadInput:
    """Why a file or folder cannot be read; it has to be refused in a sentence with a hint."""
    with pytest.raises(BadInput) as caught:
        volume.read(path)
    assert caught.value.message.endswith(".")
    assert caught.value.hint
    return caught.value


def same_place(image: sitk.Image, grid: Grid = GRID) -> None:
    """The voxels of an image lie where they lie on a grid."""
    assert image.GetSize() == grid.size
    np.testing.assert_allclose(image.GetSpacing(), grid.spacing, rtol=1e-5)
    np.testing.assert_allclose(image.GetOrigin(), grid.origin, atol=1e-3)
    np.testing.assert_allclose(image.GetDirection(), grid.direction, atol=1e-5)
