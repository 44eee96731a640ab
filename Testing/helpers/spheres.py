"""A label map of a head made of spheres, and a grid that holds it."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io.volume import Grid

GRID = Grid(size=(32, 32, 32), spacing=(2.0, 2.0, 2.0), origin=(-31.0, -31.0, -31.0))


def label_map() -> sitk.Image:
    """A head of spheres: skin (507), fluid (24), cortex (3), white matter (2), a ventricle (4)."""
    z, y, x = np.indices((64, 64, 64)) - 31.5
    radius = np.sqrt(z**2 + y**2 + x**2)
    labels = np.zeros(radius.shape, np.int32)
    for limit, label in ((31, 507), (27, 24), (24, 3), (20, 2), (6, 4)):
        labels[radius < limit] = label
    image = sitk.GetImageFromArray(labels)
    image.SetOrigin((-31.5, -31.5, -31.5))
    return image
