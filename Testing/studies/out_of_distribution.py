"""What is not the scan that a bundle was made for: phantoms, parts of a brain, wrong headers, other modalities.

All are made from a scan, or from nothing; none is a real scan of its kind. Axes of scans are near L, P, S.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from conddiffusion_uad.io.volume import Grid

_SIZE = 96  # voxels of a phantom along each axis
_SPACING_MM = 2.0
_BRAIN_RADIUS_MM = 70.0
_NOISE = 3.0  # standard deviation in a phantom of intensity 100
_CHILD = 0.65  # size of a newborn's brain against an adult's, along each axis
_THICKER = 2.5  # a slice distance that a header gets wrong
_PET_FWHM_MM = 7.0
_UPTAKE_PEAK, _UPTAKE_WIDTH = 0.55, 0.6  # gray matter's place between fluid (0) and white matter (1) of a T1 scan
_BONE_MM = (2.0, 8.0)  # from the brain outward
_SINUS_MM, _SINUS_DEPTH_MM = 6.0, 5.0  # half width of the sagittal sinus, and how far it reaches into the mask
_VESSELS, _VESSEL_MM, _VESSEL_LENGTH_MM = 40, 3.0, 60.0  # number, diameter and length of other vessels
_ENHANCED = 1.8  # intensity of blood with contrast agent against the brain's 99th percentile

Change = Callable[[sitk.Image, sitk.Image], sitk.Image]


def _phantom(values: np.ndarray) -> sitk.Image:
    noisy = values + np.random.default_rng(0).normal(0, _NOISE, values.shape) * (values > 0)
    return Grid((_SIZE,) * 3, (_SPACING_MM,) * 3, (0.0,) * 3).with_array(noisy.astype(np.float32))


def _from_center() -> np.ndarray:
    """Coordinates (3, z, y, x) in mm from the center of a phantom."""
    return (np.indices((_SIZE,) * 3) - (_SIZE - 1) / 2) * _SPACING_MM


def ball() -> sitk.Image:
    """A ball of one intensity, as large as a brain."""
    return _phantom(100.0 * (np.linalg.norm(_from_center(), axis=0) < _BRAIN_RADIUS_MM))


def cube() -> sitk.Image:
    """A cube with rods in it, as in quality assurance."""
    z, y, x = _from_center()
    inside = np.abs([z, y, x]).max(axis=0) < _BRAIN_RADIUS_MM * 0.85
    rods = (np.hypot(y % 30 - 15, x % 30 - 15) < 5) & inside
    return _phantom(100.0 * inside - 60.0 * rods)


def gradient() -> sitk.Image:
    """An ellipsoid in the shape of a brain that gets brighter from front to back."""
    z, y, x = _from_center()
    inside = (z / 60) ** 2 + (y / 85) ** 2 + (x / 68) ** 2 < 1
    return _phantom((120.0 + y) * inside)


def noise() -> sitk.Image:
    """Noise in the shape of a brain."""
    z, y, x = _from_center()
    inside = (z / 60) ** 2 + (y / 85) ** 2 + (x / 68) ** 2 < 1
    return _phantom(np.random.default_rng(1).uniform(1, 200, inside.shape) * inside)


PHANTOMS: Mapping[str, Callable[[], sitk.Image]] = MappingProxyType(
    {"ball": ball, "cube with rods": cube, "gradient": gradient, "noise volume": noise}
)


def _box(brain: sitk.Image) -> np.ndarray:
    """First index and extent of the brain, [[x, y, z], [x, y, z]]."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(brain)
    return np.array(shape.GetBoundingBox(1)).reshape(2, 3)


def _upper_half(scan: sitk.Image, brain: sitk.Image) -> sitk.Image:
    first, extent = _box(brain)
    return scan[:, :, int(first[2] + extent[2] // 2) :]


def _lower_half(scan: sitk.Image, brain: sitk.Image) -> sitk.Image:
    first, extent = _box(brain)
    return scan[:, :, : int(first[2] + extent[2] // 2)]


def _left_half(scan: sitk.Image, brain: sitk.Image) -> sitk.Image:
    first, extent = _box(brain)
    return scan[int(first[0] + extent[0] // 2) :, :, :]


def _spaced(scan: sitk.Image, factors: tuple[float, float, float]) -> sitk.Image:
    wrong = sitk.Image(scan)
    wrong.SetSpacing([s * f for s, f in zip(scan.GetSpacing(), factors, strict=True)])
    return wrong


def _wrong_slice_distance(scan: sitk.Image, brain: sitk.Image) -> sitk.Image:
    return _spaced(scan, (1.0, 1.0, _THICKER))


def _child_size(scan: sitk.Image, brain: sitk.Image) -> sitk.Image:
    return _spaced(scan, (_CHILD,) * 3)


def _upside_down(scan: sitk.Image, brain: sitk.Image) -> sitk.Image:
    """The voxels turned over and front to back under the same header, as a lost orientation does it."""
    return Grid.of(scan).with_array(sitk.GetArrayFromImage(scan)[::-1, ::-1])


def _wrong_plane(scan: sitk.Image, brain: sitk.Image) -> sitk.Image:
    """Sagittal slices that the header calls axial."""
    turned = np.ascontiguousarray(sitk.GetArrayFromImage(scan).transpose(2, 0, 1)[:, ::-1])
    x, y, z = scan.GetSpacing()
    return Grid(turned.shape[::-1], (y, z, x), (0.0, 0.0, 0.0)).with_array(turned)


def _inside(scan: sitk.Image, brain: sitk.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The scan's values with the brain's 1st and 99th percentile at 0 and 1, the brain, and the head (z, y, x)."""
    values, mask = sitk.GetArrayFromImage(scan), sitk.GetArrayFromImage(brain) > 0
    low, high = np.percentile(values[mask], [1, 99])
    dark = float(values.min())
    head = ndimage.binary_closing(values - dark > 0.2 * (np.median(values[mask]) - dark), iterations=2) | mask
    return (values - low) / (high - low), mask, head


def _ct_like(scan: sitk.Image, brain: sitk.Image) -> sitk.Image:
    """Hounsfield units: bone around a brain that is nearly flat and noisy; a scan without skull has no bone."""
    values, mask, head = _inside(scan, brain)
    outward = ndimage.distance_transform_edt(~mask, sampling=scan.GetSpacing()[::-1])
    tissue = np.where(mask, 10 + 25 * np.clip(values / 0.4, 0, 1) - 5 * (values > 0.75), 20.0)
    tissue += np.random.default_rng(0).normal(0, 5, values.shape)
    bone = (outward > _BONE_MM[0]) & (outward < _BONE_MM[1]) & head
    return Grid.of(scan).with_array(np.where(bone, 1000.0, np.where(head, tissue, -1000.0)).astype(np.float32))


def _pet_like(scan: sitk.Image, brain: sitk.Image) -> sitk.Image:
    """Uptake of gray matter, blurred."""
    values, mask, head = _inside(scan, brain)
    uptake = np.clip(1 - np.abs(values - _UPTAKE_PEAK) / _UPTAKE_WIDTH, 0, 1) * mask + 0.1 * (head & ~mask)
    sigma = _PET_FWHM_MM / 2.355 / np.array(scan.GetSpacing()[::-1])
    return Grid.of(scan).with_array((20_000 * ndimage.gaussian_filter(uptake, sigma)).astype(np.float32))


def _enhanced(scan: sitk.Image, brain: sitk.Image) -> sitk.Image:
    """Contrast agent in the sagittal sinus and in vessels."""
    values, mask, _ = _inside(scan, brain)
    spacing = np.array(scan.GetSpacing()[::-1])
    depth = ndimage.distance_transform_edt(mask, sampling=spacing)
    middle = np.argwhere(mask).mean(axis=0)
    z, _, x = np.ogrid[tuple(slice(size) for size in mask.shape)]
    blood = (depth < _SINUS_DEPTH_MM) & (np.abs(x - middle[2]) * spacing[2] < _SINUS_MM) & (z > middle[0])
    random = np.random.default_rng(0)
    for start in random.permutation(np.argwhere(mask))[:_VESSELS]:
        course = random.normal(size=3)
        _draw_vessel(blood, start, course / np.linalg.norm(course), spacing)
    low, high = np.percentile(sitk.GetArrayViewFromImage(scan)[mask], [1, 99])
    bright = np.where(blood & mask, _ENHANCED, values) * (high - low) + low
    return Grid.of(scan).with_array(bright.astype(np.float32))


def _draw_vessel(blood: np.ndarray, start: np.ndarray, course: np.ndarray, spacing: np.ndarray) -> None:
    """Mark a straight vessel about a voxel (z, y, x) along a unit vector; the box around it is enough to look at."""
    reach = np.ceil(_VESSEL_LENGTH_MM / 2 / spacing).astype(int)
    low, high = np.maximum(start - reach, 0), np.minimum(start + reach + 1, blood.shape)
    box = tuple(slice(first, last) for first, last in zip(low, high, strict=True))
    away = (np.indices(high - low) + (low - start).reshape(3, 1, 1, 1)) * spacing.reshape(3, 1, 1, 1)
    along = np.tensordot(course, away, 1)
    across = np.sqrt(np.maximum((away**2).sum(axis=0) - along**2, 0))
    blood[box] |= (across < _VESSEL_MM / 2) & (np.abs(along) < _VESSEL_LENGTH_MM / 2)


OUT_OF_DISTRIBUTION: Mapping[str, Change] = MappingProxyType(
    {
        "upper half": _upper_half,
        "lower half": _lower_half,
        "left half": _left_half,
        "wrong slice distance": _wrong_slice_distance,
        "upside down": _upside_down,
        "wrong plane": _wrong_plane,
        "child's size": _child_size,
        "like CT": _ct_like,
        "like PET": _pet_like,
        "contrast agent": _enhanced,
    }
)
"""By name: (scan, its brain mask) -> another image."""
