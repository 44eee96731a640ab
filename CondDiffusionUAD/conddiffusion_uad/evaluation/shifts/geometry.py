"""The same anatomy stored in another way: turned, cropped, sampled or placed otherwise. A heatmap should not care."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import SimpleITK as sitk

from conddiffusion_uad.io.volume import Grid
from conddiffusion_uad.preprocessing.orientation import orient
from conddiffusion_uad.preprocessing.stripped import is_stripped

_AIR_MM = (30.0, 10.0, 20.0), (10.0, 20.0, 30.0)  # added before and after each axis: the brain leaves the center
_LEFT_STRIPPED_MM, _LEFT_MM = 3.0, 20.0  # of air, or of head, left around the brain
_COARSER = 1.3  # factor of the voxel spacing along axes with voxels of up to _FINE_MM
_FINE_MM = 2.0  # between thicker slices anatomy is missing: interpolating them is more than storing them otherwise
_TURN_DEGREES = (10.0, -8.0, 12.0)  # about x, y, z


@dataclass(frozen=True)
class Changed:
    """A scan that was stored in another way.

    Attributes:
        scan: What is scored.
        to_scan: Maps points of the original scan to the same anatomy in ``scan``.
    """

    scan: sitk.Image
    to_scan: sitk.Transform

    def back(self, scores: sitk.Image, original: Grid) -> sitk.Image:
        """Bring scores on the grid of ``scan`` to the original grid, float32, 0 where there are none."""
        return sitk.Resample(scores, original.blank(), self.to_scan, sitk.sitkLinear, 0.0)


def unmoved(scan: sitk.Image) -> Changed:
    """A scan whose anatomy lies where it lay."""
    return Changed(scan, sitk.Transform())


def _reoriented(scan: sitk.Image, brain: sitk.Image) -> Changed:
    """Stored in other planes (axial becomes sagittal), two axes backward."""
    return unmoved(sitk.Flip(sitk.PermuteAxes(scan, [1, 2, 0]), [True, False, True]))


def _cropped(scan: sitk.Image, brain: sitk.Image) -> Changed:
    margin_mm = _LEFT_STRIPPED_MM if is_stripped(orient(scan).image) else _LEFT_MM
    indices = np.nonzero(sitk.GetArrayViewFromImage(brain))[::-1]
    margins = np.ceil(margin_mm / np.array(scan.GetSpacing())).astype(int)
    box = [
        slice(max(0, int(index.min() - margin)), int(index.max() + margin) + 1)
        for index, margin in zip(indices, margins, strict=True)
    ]
    return unmoved(scan[tuple(box)])


def _padded(scan: sitk.Image, brain: sitk.Image) -> Changed:
    before, after = ([round(mm / s) for mm, s in zip(air, scan.GetSpacing(), strict=True)] for air in _AIR_MM)
    values = sitk.GetArrayViewFromImage(scan)
    corners = values[:: len(values) - 1, :: values.shape[1] - 1, :: values.shape[2] - 1]
    return unmoved(sitk.ConstantPad(scan, before, after, float(np.median(corners))))


def _resampled(scan: sitk.Image, brain: sitk.Image) -> Changed:
    old = np.array(scan.GetSpacing())
    factor = np.where(old <= _FINE_MM, _COARSER, 1.0)
    size = np.ceil(np.array(scan.GetSize()) / factor).astype(int)
    axes = np.array(scan.GetDirection()).reshape(3, 3) * old
    origin = np.array(scan.GetOrigin()) + axes @ ((factor - 1) / 2)
    grid = Grid(tuple(size.tolist()), tuple((old * factor).tolist()), tuple(origin.tolist()), scan.GetDirection())
    resample = sitk.ResampleImageFilter()
    resample.SetReferenceImage(grid.blank())
    resample.SetInterpolator(sitk.sitkLinear)
    resample.UseNearestNeighborExtrapolatorOn()
    return unmoved(resample.Execute(scan))


def _turned(scan: sitk.Image, brain: sitk.Image) -> Changed:
    """The head lies otherwise in the scanner: the same voxels under a header with turned axes."""
    center = scan.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in scan.GetSize()])
    turn = sitk.Euler3DTransform(center, *np.radians(_TURN_DEGREES).tolist(), (0.0, 0.0, 0.0))
    direction = np.array(turn.GetMatrix()).reshape(3, 3) @ np.array(scan.GetDirection()).reshape(3, 3)
    grid = Grid(scan.GetSize(), scan.GetSpacing(), turn.TransformPoint(scan.GetOrigin()), tuple(direction.flat))
    return Changed(grid.with_array(sitk.GetArrayFromImage(scan)), turn)


GEOMETRIC_CHANGES: Mapping[str, Callable[[sitk.Image, sitk.Image], Changed]] = MappingProxyType(
    {
        "reoriented": _reoriented,
        "air removed": _cropped,
        "air added": _padded,
        "resampled": _resampled,
        "rotated header": _turned,
    }
)
"""By name: (scan, its brain mask) -> the changed scan."""
